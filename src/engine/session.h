#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/limits.h"
#include "graph/graph.h"

namespace ounce::engine {

/// Which kernel is fastest for a layer on this machine: layer signature -> kernel name. Kernels of
/// a layer compute the same results, so a wrong hint costs time and nothing else; what is not here
/// is measured once.
using KernelHints = std::map<std::string, std::string, std::less<>>;

/// Keeps hints in the metadata of a graph, one entry each, in the place of those that were there. A
/// session on the graph reads them.
void store_kernel_hints(Graph& graph, const KernelHints& hints);

/// How a session runs its graph.
struct SessionOptions {
  int threads = 1;
  /// Names of values to hand to the tap callback of `run`. A tapped value is computed as written:
  /// no fusion crosses it.
  std::vector<std::string> taps;
  /// Measure every step of every run (see `Session::profile`).
  bool profile = false;
  /// Float 3x3 convolutions by Winograd's method where it is faster: about half the time, rounding
  /// errors a few times those of plain sums.
  bool winograd = true;
  /// What earlier sessions measured; goes before what the graph's metadata say.
  KernelHints kernel_hints;
  /// Run every node with the naive reference operators, unfused: the specification.
  bool reference_only = false;
};

/// One step of the plan, as the profile and `bench` show it.
struct StepProfile {
  std::string name;                // of the node(s) it computes
  std::string op;                  // operator, e.g. "Conv"
  std::string kernel;              // kernel chosen, e.g. "conv_u8s8 avx512vnni"
  std::vector<std::string> nodes;  // all graph nodes that were fused into the step
  int64_t macs = 0;
  int64_t bytes = 0;              // weights as packed, and the values it reads and writes
  Multiplication multiplication;  // what bounds it where macs > 0
  int64_t runs = 0;
  double total_ms = 0;
  double median_ms = 0;
};

/// A model ready to run. The graph is copied (weights shared), optimised, lowered to kernels and
/// packed for the instruction set found at run time. The plan is specialised to the input shapes of
/// the first run and rebuilt when they change; between runs of equal shapes nothing is allocated
/// (`run_into`), but by operators that have no kernel and run on their reference. Not thread-safe:
/// one session a thread.
class Session {
 public:
  explicit Session(const Graph& graph, SessionOptions options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// `value_name`, and its content in the graph's logical (ONNX) layout, valid during the call.
  using TapCallback = std::function<void(std::string_view value_name, const Tensor& tensor)>;

  /// Runs once. `inputs` stand in the order of `graph().inputs`; dtype and rank must match, else
  /// `Error` says what was expected and what came. Returns outputs in the order of the graph's.
  std::vector<Tensor> run(std::span<const Tensor> inputs, const TapCallback& on_tap = nullptr);

  /// As `run`, writing into `outputs`, which must have been returned by an earlier `run` with the
  /// same input shapes (or be undefined, then they are allocated).
  void run_into(std::span<const Tensor> inputs, std::span<Tensor> outputs);

  const Graph& graph() const;

  /// Per-step times since the session began or `reset_profile`; empty unless `profile` was set.
  std::vector<StepProfile> profile() const;
  void reset_profile();

  /// The hints given and those measured since.
  const KernelHints& kernel_hints() const;

  /// Bytes of the activation arena and of the packed weights of the current plan (0 before the
  /// first run).
  int64_t arena_bytes() const;
  int64_t weight_bytes() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Whether the engine runs a quantized (DQ -> op -> Q) node on integers.
struct IntegerSupport {
  std::string node;
  std::string op;
  bool integer = false;
  std::string kernel;  // kernel that would run it
  std::string reason;  // why not, when `integer` is false
};

/// For each node of a Q/DQ graph with at least one dequantized input: does an integer kernel run
/// it? Decided by the same lowering that `Session` uses.
std::vector<IntegerSupport> integer_support(const Graph& qdq_graph);

}  // namespace ounce::engine
