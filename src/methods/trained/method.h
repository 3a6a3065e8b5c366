#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "settings/settings.h"
#include "train/image_set.h"
#include "train/insert.h"
#include "train/module.h"
#include "train/trainer.h"

namespace ounce::methods {

/// A method that trains, with the settings of one stage of a recipe: which quantizers go where,
/// what is lost beside the task, what happens between steps. One object serves one stage.
class TrainedMethod {
 public:
  virtual ~TrainedMethod() = default;

  /// `network` in f32, as the stage before left it, with the method's nodes and quantizers in it.
  virtual train::Student student(const Graph& network) = 0;

  /// Names of values that `loss` wants to see, of the student's graph and of the teacher's. A
  /// teacher tap makes the stage need a teacher.
  virtual std::vector<std::string> student_taps(const Graph& /*student*/) { return {}; }
  virtual std::vector<std::string> teacher_taps(const Graph& /*teacher*/) { return {}; }

  /// What is added to the task's loss; undefined for nothing. `teacher` is null where the stage has
  /// none. Quantizers' penalties are `module.penalty()`.
  virtual at::Tensor loss(train::Module& /*module*/, const train::Module::Result& /*student*/,
                          const train::Module::Result* /*teacher*/) {
    return {};
  }

  /// After every step of the optimizer, and after the quantizers' own.
  virtual void after_step(train::Module& /*module*/, const train::Progress& /*progress*/) {}

  /// Numbers for the log at the end of an epoch, by name ("flip_rate/<layer>").
  virtual std::map<std::string, double> measures(const train::Module& /*module*/) { return {}; }

  /// More of them, from test pictures [B, C, H, W]; `teacher` is null where the stage has none.
  virtual std::map<std::string, double> measures_of(const at::Tensor& /*pictures*/,
                                                    train::Module& /*student*/,
                                                    train::Module* /*teacher*/) {
    return {};
  }
};

/// A row of the table of methods that recipes can name.
struct TrainedMethodRow {
  std::string_view name;
  std::string_view summary;
  std::string_view paper;
  /// Reads the method's keys of a stage; throws `Error` with file, line and key.
  std::unique_ptr<TrainedMethod> (*read)(Settings& stage);
};

/// All methods that train, by name; "float" is the first.
std::span<const TrainedMethodRow> trained_methods();

}  // namespace ounce::methods
