#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "graph/error.h"
#include "graph/tensor.h"

namespace ounce::quantize {

/// A stream of model inputs that can be read again from the start, always the same ones.
class InputSource {
 public:
  virtual ~InputSource() = default;
  virtual void restart() = 0;
  /// The tensors of one run, in the order of the graph's inputs; nullopt at the end.
  virtual std::optional<std::vector<Tensor>> next() = 0;
  /// Number of runs, when known.
  virtual std::optional<int64_t> size() const { return std::nullopt; }
};

/// Inputs held in memory.
class TensorSource final : public InputSource {
 public:
  explicit TensorSource(std::vector<std::vector<Tensor>> runs) : runs_(std::move(runs)) {}
  void restart() override { position_ = 0; }
  std::optional<std::vector<Tensor>> next() override {
    if (position_ == runs_.size()) return std::nullopt;
    return runs_[position_++];
  }
  std::optional<int64_t> size() const override { return static_cast<int64_t>(runs_.size()); }

 private:
  std::vector<std::vector<Tensor>> runs_;
  size_t position_ = 0;
};

/// Inputs made by a function, such as one that decodes the pictures of a folder.
class FunctionSource final : public InputSource {
 public:
  using Next = std::function<std::optional<std::vector<Tensor>>()>;
  /// `open` starts from the beginning.
  explicit FunctionSource(std::function<Next()> open, std::optional<int64_t> size = std::nullopt)
      : open_(std::move(open)), next_(open_()), size_(size) {}
  void restart() override { next_ = open_(); }
  std::optional<std::vector<Tensor>> next() override { return next_(); }
  std::optional<int64_t> size() const override { return size_; }

 private:
  std::function<Next()> open_;
  Next next_;
  std::optional<int64_t> size_;
};

/// The first runs of another source, which must outlive it.
class FirstRuns final : public InputSource {
 public:
  FirstRuns(InputSource& source, int64_t count) : source_(source), count_(count) {}
  void restart() override {
    source_.restart();
    done_ = 0;
  }
  std::optional<std::vector<Tensor>> next() override {
    return done_++ < count_ ? source_.next() : std::nullopt;
  }
  std::optional<int64_t> size() const override {
    const auto all = source_.size();
    return all ? std::optional(std::min(*all, count_)) : std::nullopt;
  }

 private:
  InputSource& source_;
  int64_t count_;
  int64_t done_ = 0;
};

/// Thrown when `Progress::interrupted` answers true.
class Interrupted : public Error {
 public:
  Interrupted() : Error("interrupted") {}
};

/// How long work tells where it stands, and asks whether to stop. Both may be empty.
struct Progress {
  /// Stage ("ranges", "histograms", ...), steps done, steps in all (0: not known).
  std::function<void(std::string_view stage, int64_t done, int64_t total)> report;
  /// Something worth telling once, in one line (memory needed, a layer that stays in float).
  std::function<void(std::string_view line)> note;
  std::function<bool()> interrupted;

  /// Reports, and throws `Interrupted` when asked to stop.
  void step(std::string_view stage, int64_t done, int64_t total) const {
    if (interrupted && interrupted()) throw Interrupted();
    if (report) report(stage, done, total);
  }
  void tell(std::string_view line) const {
    if (note) note(line);
  }
};

/// The inputs of the first run. Throws `Error` when there is none.
std::vector<Tensor> first_run(InputSource& source);

std::vector<Shape> shapes_of(const std::vector<Tensor>& tensors);

/// Calls `use` for every run of `source`, from the start. Throws `Error` when there is none.
void for_each_run(InputSource& source, std::string_view stage, const Progress& progress,
                  const std::function<void(const std::vector<Tensor>&)>& use);

}  // namespace ounce::quantize
