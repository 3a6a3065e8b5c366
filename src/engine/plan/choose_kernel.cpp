#include "engine/plan/choose_kernel.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "engine/isa.h"

namespace ounce::engine {
namespace {

using Clock = std::chrono::steady_clock;

/// Below this share of its time a candidate takes the place of one that stands before it.
constexpr double kClearlyFaster = 0.97;

/// Everything that decides how long a candidate takes.
std::string signature(const StepRequest& request, std::span<const KernelCandidate> candidates) {
  std::string text = request.node.op;
  const auto add = [&](ValueId id) {
    if (id == kNoValue) {
      text += " -";
      return;
    }
    text += ' ';
    text += name_of(request.dtype(id));
    text += to_string(request.shape(id));
  };
  for (const ValueId id : request.node.inputs) add(id);
  text += " ->";
  for (const ValueId id : request.node.outputs) add(id);
  for (const char* name : {"strides", "dilations", "pads"}) {
    if (request.node.attributes.has(name)) {
      text += ' ';
      text += to_string(request.node.attributes.get_ints(name));
    }
  }
  text += " of";
  for (const KernelCandidate& candidate : candidates) text += ' ' + std::string(candidate.kernel);
  return text + " x" + std::to_string(request.threads) + ' ' + std::string(isa_name(current_isa()));
}

/// Memory for the computed operands and the results of one node.
class Operands {
 public:
  explicit Operands(const StepRequest& request) : slots_(request.graph.values.size(), nullptr) {
    for (const ValueId id : request.node.inputs) place(request, id);
    for (const ValueId id : request.node.outputs) place(request, id);
  }
  std::byte* const* slots() const { return slots_.data(); }

 private:
  void place(const StepRequest& request, ValueId id) {
    if (id == kNoValue || slots_[static_cast<size_t>(id)] != nullptr) return;
    const Value& value = request.value(id);
    if (value.is_constant()) {
      // Steps never write through the address of a constant.
      slots_[static_cast<size_t>(id)] = const_cast<std::byte*>(value.constant.raw());
      return;
    }
    buffers_.emplace_back(byte_size(value.dtype, element_count(request.shape(id))) + kCacheLine);
    slots_[static_cast<size_t>(id)] = buffers_.back().data();
  }

  static constexpr size_t kCacheLine = 64;
  std::vector<AlignedVector<std::byte>> buffers_;
  std::vector<std::byte*> slots_;
};

/// Least time of a run, in seconds: at least three runs, and more of short ones.
double time_of(Step& step, const StepRequest& request, const Operands& operands) {
  constexpr double kEnough = 0.002;
  constexpr int kLeastRuns = 3;
  AlignedVector<std::byte> scratch(step.scratch_bytes());
  const Context kernels{request.pool, scratch};
  const RunContext context{operands.slots(), kernels};
  double best = std::numeric_limits<double>::infinity();
  double total = 0.0;
  step.run(context);
  for (int runs = 0; runs < kLeastRuns || total < kEnough; ++runs) {
    const auto start = Clock::now();
    step.run(context);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

}  // namespace

std::unique_ptr<Step> fastest(const StepRequest& request,
                              std::span<const KernelCandidate> candidates) {
  if (candidates.size() == 1) return candidates[0].make();
  const std::string key = signature(request, candidates);
  if (const auto hint = request.hints.find(key); hint != request.hints.end()) {
    for (const KernelCandidate& candidate : candidates) {
      if (candidate.kernel == hint->second) return candidate.make();
    }
  }
  const Operands operands(request);
  std::unique_ptr<Step> best;
  double least = std::numeric_limits<double>::infinity();
  for (const KernelCandidate& candidate : candidates) {
    std::unique_ptr<Step> step = candidate.make();
    const double seconds = time_of(*step, request, operands);
    if (best != nullptr && seconds >= kClearlyFaster * least) continue;
    least = seconds;
    best = std::move(step);
    request.hints[key] = candidate.kernel;
  }
  return best;
}

}  // namespace ounce::engine
