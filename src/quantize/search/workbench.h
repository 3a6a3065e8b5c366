#pragma once

#include <map>
#include <string>
#include <vector>

#include "quantize/calibration_cache.h"
#include "quantize/quantizer.h"
#include "quantize/search/setting.h"
#include "quantize/search/table.h"
#include "quantize/source.h"

namespace ounce::quantize::search {

/// What a search is about to be done to.
struct Subject {
  const Graph* graph = nullptr;
  /// How layers are quantized beyond their bits. Layers whose bits an override names keep these and
  /// are not searched.
  Options base;
  /// Settings beyond float that layers may have, dearest first, each with calibrated grids.
  std::vector<Setting> settings;
  InputSource* calibration = nullptr;
};

/// Makes the quantized graphs that a search measures. Each number is calibrated once, whatever the
/// combination of settings it is used in.
class Workbench {
 public:
  /// Plans the network at each setting and asks the engine what it can run. Throws `Error` where
  /// nothing can be searched, naming the reason.
  Workbench(const Subject& subject, const Progress& progress);

  /// Units with the settings that the engine has kernels for; nothing measured yet. Layers that one
  /// of `together` names with others form one unit.
  std::vector<Unit> units(const std::vector<std::vector<std::string>>& together) const;

  /// The network with all layers at one setting as far as they can be: prepared, planned, with
  /// numbers that mean nothing. For measuring what does not depend on them.
  struct Uniform {
    Graph prepared;
    Plan plan;
    Calibration placeholder;                 // of the plan: sizes without numbers
    std::map<std::string, size_t> layer_of;  // by node, index into plan.layers
  };
  const Uniform& uniform(const Setting& setting) const;
  const std::vector<Setting>& settings() const { return subject_.settings; }
  const Options& base() const { return subject_.base; }
  const std::vector<Tensor>& sample() const { return sample_; }

  /// The float network as it is quantized: batch norms folded, functions fused.
  const Graph& prepared() const { return uniform_.begin()->second.prepared; }

  /// Bytes of the constants of some layers at a setting (float: as they are).
  int64_t bytes_of(const std::vector<std::string>& layers, const Setting& setting) const;

  /// The network with only these layers quantized, calibrated.
  Graph alone(const std::vector<std::string>& layers, const Setting& setting,
              const Progress& progress);

  /// The network with a setting for each unit.
  QuantizeResult quantized(const std::vector<Unit>& units, const Assignment& assignment,
                           const Progress& progress);

  /// Why layers have no choice but float, and why settings are left out for some: lines for people.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  Uniform plan_uniform(const Setting& setting) const;
  void find_layers();
  void note_unsupported();
  std::vector<size_t> indices(const Uniform& uniform, const std::vector<std::string>& layers) const;

  /// A layer that is searched.
  struct Layer {
    std::string name;
    std::string op;
    bool has_weights = false;
    int64_t parameters = 0;
  };

  Subject subject_;
  std::vector<Tensor> sample_;
  std::vector<Layer> layers_;  // in network order
  std::map<Setting, Uniform> uniform_;
  std::map<Setting, Calibration> calibrations_;
  CalibrationCache cache_;
  std::vector<std::string> notes_;
};

}  // namespace ounce::quantize::search
