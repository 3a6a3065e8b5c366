#include "engine/session.h"

#include <algorithm>

#include "engine/lowering/internal_ops.h"
#include "engine/plan/plan.h"
#include "engine/reference/reference.h"
#include "engine/thread_pool.h"
#include "graph/error.h"
#include "graph/passes/passes.h"

namespace ounce::engine {
namespace {

/// Passes and lowering keep graph outputs as written, so a tap is made one. Naming a tap twice is
/// naming it once.
void add_taps(Graph& graph, const std::vector<std::string>& taps) {
  const std::vector<ValueId> results = graph.outputs;
  for (const std::string& tap : taps) {
    const ValueId id = graph.find_value(tap);
    if (id == kNoValue) throw Error("no value named '" + tap + "' to tap");
    if (std::find(results.begin(), results.end(), id) != results.end()) {
      throw Error("'" + tap + "' is an output of the graph and cannot be a tap");
    }
    if (std::find(graph.outputs.begin(), graph.outputs.end(), id) == graph.outputs.end()) {
      graph.outputs.push_back(id);
    }
  }
}

/// Metadata keys of kernel hints: this and the signature.
constexpr std::string_view kHintPrefix = "kernel ";

/// Adds the hints of the metadata to those given.
void read_kernel_hints(const Graph& graph, KernelHints& hints) {
  for (const auto& [key, kernel] : graph.metadata) {
    if (key.starts_with(kHintPrefix)) hints.emplace(key.substr(kHintPrefix.size()), kernel);
  }
}

/// Whether a tensor of `shape` may go in where `wanted` is declared.
bool fits(const SymbolicShape& wanted, const Shape& shape) {
  return std::equal(wanted.begin(), wanted.end(), shape.begin(), shape.end(),
                    [](const Dim& dim, int64_t size) { return !dim.known() || dim.value == size; });
}

}  // namespace

class Session::Impl {
 public:
  Impl(const Graph& graph, SessionOptions options)
      : original_(graph), options_(std::move(options)), pool_(std::max(1, options_.threads)) {
    optimized_ = graph;
    output_count_ = graph.outputs.size();
    add_taps(optimized_, options_.taps);
    read_kernel_hints(graph, options_.kernel_hints);
    if (!options_.reference_only) optimize(optimized_, reference::evaluator());
  }

  void run(std::span<const Tensor> inputs, std::span<Tensor> outputs, const TapCallback& on_tap) {
    check_inputs(inputs);
    if (options_.reference_only) return run_reference(inputs, outputs, on_tap);
    if (!plan_ || !same_shapes(inputs)) build_plan(inputs);
    plan_->run(inputs, outputs, on_tap);
  }

  const Graph& graph() const { return original_; }
  size_t output_count() const { return output_count_; }
  Plan* plan() { return plan_.get(); }
  const KernelHints& kernel_hints() const { return options_.kernel_hints; }

 private:
  void check_inputs(std::span<const Tensor> inputs) const {
    if (inputs.size() != original_.inputs.size()) {
      throw Error("the model has " + std::to_string(original_.inputs.size()) + " inputs, got " +
                  std::to_string(inputs.size()));
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Value& wanted = original_.value(original_.inputs[i]);
      const auto refuse = [&](std::string_view expected, std::string_view got) {
        throw Error("expected " + std::string(expected) + ", got " + std::string(got),
                    "input '" + wanted.name + "'");
      };
      if (inputs[i].dtype() != wanted.dtype) {
        refuse(name_of(wanted.dtype), name_of(inputs[i].dtype()));
      }
      if (wanted.shape && !fits(*wanted.shape, inputs[i].shape())) {
        refuse("shape " + to_string(*wanted.shape), to_string(inputs[i].shape()));
      }
    }
  }

  bool same_shapes(std::span<const Tensor> inputs) const {
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].shape() != plan_->input_shapes()[i]) return false;
    }
    return true;
  }

  void build_plan(std::span<const Tensor> inputs) {
    std::vector<Shape> shapes;
    for (const Tensor& input : inputs) shapes.push_back(input.shape());
    plan_.reset();
    plan_ = std::make_unique<Plan>(optimized_, shapes, options_, pool_, options_.kernel_hints);
  }

  void run_reference(std::span<const Tensor> inputs, std::span<Tensor> outputs,
                     const TapCallback& on_tap) const {
    const std::vector<Tensor> results = reference::run(optimized_, inputs);
    for (size_t i = 0; i < results.size(); ++i) {
      if (i < outputs.size()) {
        outputs[i] = results[i];
      } else if (on_tap) {
        on_tap(optimized_.value(optimized_.outputs[i]).name, results[i]);
      }
    }
  }

  Graph original_;
  Graph optimized_;
  SessionOptions options_;
  size_t output_count_ = 0;
  ThreadPool pool_;
  std::unique_ptr<Plan> plan_;
};

void store_kernel_hints(Graph& graph, const KernelHints& hints) {
  std::erase_if(graph.metadata,
                [](const auto& entry) { return entry.first.starts_with(kHintPrefix); });
  for (const auto& [signature, kernel] : hints) {
    graph.metadata[std::string(kHintPrefix) + signature] = kernel;
  }
}

Session::Session(const Graph& graph, SessionOptions options)
    : impl_(std::make_unique<Impl>(graph, std::move(options))) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::vector<Tensor> Session::run(std::span<const Tensor> inputs, const TapCallback& on_tap) {
  std::vector<Tensor> outputs(impl_->output_count());
  impl_->run(inputs, outputs, on_tap);
  return outputs;
}

void Session::run_into(std::span<const Tensor> inputs, std::span<Tensor> outputs) {
  if (outputs.size() != impl_->output_count()) {
    throw Error("the model has " + std::to_string(impl_->output_count()) +
                " outputs, got room for " + std::to_string(outputs.size()));
  }
  impl_->run(inputs, outputs, nullptr);
}

const Graph& Session::graph() const {
  return impl_->graph();
}

std::vector<StepProfile> Session::profile() const {
  const Plan* plan = impl_->plan();
  return plan != nullptr ? plan->profile() : std::vector<StepProfile>{};
}

void Session::reset_profile() {
  if (Plan* plan = impl_->plan()) plan->reset_profile();
}

const KernelHints& Session::kernel_hints() const {
  return impl_->kernel_hints();
}

int64_t Session::arena_bytes() const {
  const Plan* plan = impl_->plan();
  return plan != nullptr ? plan->arena_bytes() : 0;
}

int64_t Session::weight_bytes() const {
  const Plan* plan = impl_->plan();
  return plan != nullptr ? plan->weight_bytes() : 0;
}

}  // namespace ounce::engine
