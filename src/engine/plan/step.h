#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "engine/kernels/common.h"
#include "engine/limits.h"
#include "engine/session.h"
#include "graph/graph.h"

namespace ounce::engine {

/// What a step gets when it runs: the address of every value of the planned graph.
struct RunContext {
  std::byte* const* slots;  // by ValueId
  const Context& kernels;   // thread pool and scratch

  template <class T>
  T* at(ValueId value) const {
    return reinterpret_cast<T*>(slots[value]);
  }
  /// nullptr for an omitted operand.
  template <class T>
  T* maybe(ValueId value) const {
    return value == kNoValue ? nullptr : at<T>(value);
  }
};

/// One prepared operator of a plan: weights packed, shapes fixed, nothing left to decide.
class Step {
 public:
  virtual ~Step() = default;
  /// Computes its outputs from its inputs. Cannot fail, and allocates nothing but where the
  /// operator has no kernel and runs on its reference.
  virtual void run(const RunContext& context) = 0;
  virtual size_t scratch_bytes() const { return 0; }
  /// An input, as large as output 0, into whose memory output 0 may be written: no element of it is
  /// read after that of the output is there. kNoValue: none.
  virtual ValueId overwritable() const { return kNoValue; }
  virtual int64_t weight_bytes() const { return 0; }
  /// Kernel name for the profile, e.g. "conv_u8s8".
  virtual std::string_view kernel() const = 0;
  /// How it multiplies, for the profile; of no meaning where it does not.
  virtual Multiplication multiplication() const { return {}; }
};

/// What a step factory may look at.
struct StepRequest {
  const Graph& graph;  // lowered: every shape concrete
  const Node& node;
  int threads;
  ThreadPool& pool;
  KernelHints& hints;  // see choose_kernel.h
  bool winograd;       // see SessionOptions

  const Value& value(ValueId id) const { return graph.value(id); }
  Shape shape(ValueId id) const { return *concrete(*graph.value(id).shape); }
  DType dtype(ValueId id) const { return graph.value(id).dtype; }
  const Tensor* constant(ValueId id) const { return graph.constant(id); }
};

/// Makes the step, or nullptr when the operands are not of a kind it is fast for (the plan then
/// falls back to the reference operator).
using StepFactory = std::unique_ptr<Step> (*)(const StepRequest& request);

/// The fast factory for an operator, or nullptr.
StepFactory find_step_factory(std::string_view op);

/// A step made of a callable `run(context)`.
template <class F>
class LambdaStep final : public Step {
 public:
  LambdaStep(std::string_view kernel, F run, size_t scratch)
      : kernel_(kernel), run_(std::move(run)), scratch_(scratch) {}
  void run(const RunContext& context) override { run_(context); }
  size_t scratch_bytes() const override { return scratch_; }
  std::string_view kernel() const override { return kernel_; }

 private:
  std::string_view kernel_;
  F run_;
  size_t scratch_;
};

/// `kernel` must be a string literal (it is kept by reference).
template <class F>
std::unique_ptr<Step> make_step(std::string_view kernel, F run, size_t scratch = 0) {
  return std::make_unique<LambdaStep<F>>(kernel, std::move(run), scratch);
}

}  // namespace ounce::engine
