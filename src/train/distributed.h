#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ounce::train {

/// Which of the processes that train together this one is, and where they meet.
struct Place {
  int rank = 0;
  int size = 1;
  std::string address;    // of rank 0's machine
  uint16_t port = 29500;  // there
  /// torchrun's agent serves the meeting point, not rank 0.
  bool is_served = false;
  /// Apart from the keys of an earlier attempt at the same meeting point.
  std::string attempt;
};

/// What torchrun (RANK, WORLD_SIZE), mpirun of Open MPI (OMPI_COMM_WORLD_RANK, ..SIZE) or srun of
/// Slurm (SLURM_PROCID, SLURM_NTASKS) says, asked in this order; this process alone without them.
/// They meet at MASTER_ADDR and MASTER_PORT; where these are not set, on the machine of mpirun when
/// it started all of them there, and at SLURM_LAUNCH_NODE_IPADDR. Throws `Error` naming a variable
/// that is missing or no number in its range.
Place place_from_environment();

enum class Reduction { kSum, kLeast, kLargest };

/// The processes that train together, as one of them sees the others. All must make the same calls
/// in the same order. Alone, every call returns at once with what it was given.
///
/// When a process is lost, calls throw `Error` that names its rank: 5 s after its connections broke
/// (it was killed), or 30 s after its last sign of life (its machine is gone, or it was stopped).
/// An error of one that `leave` tells reaches the others within a second.
class World {
 public:
  /// This process alone.
  World();
  /// Told again and again how many have come; returning false ends the waiting.
  using Waiting = std::function<bool(int64_t come)>;
  /// Meets the others; throws `Error` when they do not come within 5 minutes, or `waiting` ends it.
  explicit World(const Place& place, const Waiting& waiting = nullptr);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Who writes files.
  bool is_first() const { return rank_ == 0; }

  /// Puts the sum of all processes' tensors, or the least or largest element by element, into each.
  void all_reduce(const at::Tensor& tensor, Reduction reduction = Reduction::kSum);
  /// Puts their means into all, in few large messages.
  void average(const std::vector<at::Tensor>& tensors);
  /// Puts rank 0's into all, in one message; any types.
  void broadcast(const std::vector<at::Tensor>& tensors);
  /// Rank 0's text.
  std::string broadcast(const std::string& text);
  /// All processes' tensors, [size, ..].
  at::Tensor gather(const at::Tensor& tensor);
  /// Waits until all have come here.
  void barrier();

  /// Tells the others why this process ends; they throw `Error` with its rank and `reason`.
  void leave(const std::string& reason) noexcept;

 private:
  class Group;
  std::unique_ptr<Group> group_;  // null: alone
  int rank_ = 0;
  int size_ = 1;
};

/// The processes of this run: this one alone, but while a `Membership` lives.
World& world();

/// Makes `world()` another one for as long as it lives: the processes of a run, or, around what
/// only one of them does, this process alone.
class Membership {
 public:
  explicit Membership(World& other);
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

 private:
  World* before_;
};

}  // namespace ounce::train
