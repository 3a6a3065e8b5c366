#include "train/distributed.h"

#ifndef USE_C10D_GLOO
#define USE_C10D_GLOO  // what the library was built with; its headers ask
#endif
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <thread>

#include "graph/error.h"
#include "train/lifeline.h"

namespace ounce::train {
namespace {

constexpr std::chrono::milliseconds kPatienceToMeet = std::chrono::minutes(5);
// Of a message: long, because a rank may wait while another one evaluates. The lifeline tells who
// is gone.
constexpr std::chrono::milliseconds kPatienceForMessage = std::chrono::hours(24);
constexpr std::chrono::milliseconds kGlance{500};
// Gradients travel in messages of this many elements at most, so that no second copy of all of them
// is made.
constexpr int64_t kBucket = int64_t{1} << 24;
constexpr const char* kThisMachine = "127.0.0.1";
constexpr const char* kCome = "come";

std::optional<std::string> variable(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return text;
}

int number(const char* name, int least, int most) {
  const auto text = variable(name);
  if (!text) throw Error("is not set", name, "starting all processes by torchrun, mpirun or srun");
  int value = 0;
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (failed != std::errc() || end != text->data() + text->size() || value < least ||
      value > most) {
    throw Error("'" + *text + "' is no number from " + std::to_string(least) + " to " +
                    std::to_string(most),
                name);
  }
  return value;
}

constexpr int kMostRanks = 1 << 16;
constexpr int kMostPorts = 65535;

/// The starter's variables of rank and size, by their names.
Place ranked(const char* rank, const char* size) {
  Place place;
  place.size = number(size, 1, kMostRanks);
  place.rank = number(rank, 0, place.size - 1);
  return place;
}

/// Where the processes that mpirun started meet, as far as it tells.
std::optional<std::string> address_of_mpirun() {
  const auto here = variable("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (here && here == variable("OMPI_COMM_WORLD_SIZE")) return kThisMachine;
  return std::nullopt;
}

/// The first line of what went wrong.
std::string reason_of(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = torch != nullptr ? torch->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

c10d::ReduceOp::RedOpType operation_of(Reduction reduction) {
  switch (reduction) {
    case Reduction::kSum:
      return c10d::ReduceOp::SUM;
    case Reduction::kLeast:
      return c10d::ReduceOp::MIN;
    case Reduction::kLargest:
      break;
  }
  return c10d::ReduceOp::MAX;
}

at::Tensor bytes_of(const at::Tensor& tensor) {
  return tensor.detach().cpu().contiguous().reshape({-1}).view(at::kByte);
}

}  // namespace

Place place_from_environment() {
  Place place;
  std::optional<std::string> address = variable("MASTER_ADDR");
  if (variable("RANK") || variable("WORLD_SIZE")) {
    place = ranked("RANK", "WORLD_SIZE");
    place.is_served = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
    place.attempt = variable("TORCHELASTIC_RESTART_COUNT").value_or("");
  } else if (variable("OMPI_COMM_WORLD_SIZE")) {
    place = ranked("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
    if (!address) address = address_of_mpirun();
  } else if (variable("SLURM_PROCID") && variable("SLURM_NTASKS")) {
    place = ranked("SLURM_PROCID", "SLURM_NTASKS");
    if (!address) address = variable("SLURM_LAUNCH_NODE_IPADDR");
  }
  if (place.size == 1) return place;
  if (!address) throw Error("is not set", "MASTER_ADDR", "the address of the machine of rank 0");
  place.address = *address;
  if (variable("MASTER_PORT")) {
    place.port = static_cast<uint16_t>(number("MASTER_PORT", 1, kMostPorts));
  }
  return place;
}

/// Connections to the other processes.
class World::Group {
 public:
  Group(const Place& place, const Waiting& waiting) : rank_(place.rank) {
    // Its notes on connections that are tried again would stand between our lines.
    setenv("TORCH_CPP_LOG_LEVEL", "ERROR", /*overwrite=*/0);
    try {
      const auto store = meet(place, place.rank == 0 && !place.is_served);
      auto options = c10d::ProcessGroupGloo::Options::create(kPatienceForMessage);
      options->devices.push_back(device(place));
      wait_for_all(*store, place.size, waiting);
      gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, place.rank, place.size, options);
      lifeline_ = std::make_unique<Lifeline>(meet(place, false), place.rank, place.size);
    } catch (const std::exception& error) {
      throw Error("rank " + std::to_string(place.rank) + " could not meet the other " +
                      std::to_string(place.size - 1) + ": " + reason_of(error),
                  place.address + ":" + std::to_string(place.port),
                  "starting all ranks at once, with an address and a port that all reach");
    }
  }

  /// Threads that wait for somebody who is gone are left behind: joining them would wait, too.
  ~Group() {
    if (!is_broken_) return;
    (void)gloo_.release();
    (void)lifeline_.release();
  }

  c10d::ProcessGroupGloo& gloo() { return *gloo_; }

  void wait(const c10::intrusive_ptr<c10d::Work>& work) {
    for (;;) {
      try {
        work->wait(kGlance);
        return;
      } catch (const std::exception& error) {
        if (work->isCompleted() && work->exception()) explain(error);
      }
      if (const std::string verdict = lifeline_->verdict(); !verdict.empty()) end(verdict);
    }
  }

  void leave(const std::string& reason) noexcept {
    if (is_broken_) return;
    is_broken_ = true;
    lifeline_->pass_verdict("rank " + std::to_string(rank_) + " has ended: " + reason);
  }

 private:
  static c10::intrusive_ptr<c10d::Store> meet(const Place& place, bool is_server) {
    c10d::TCPStoreOptions options;
    options.port = place.port;
    options.isServer = is_server;
    options.waitWorkers = false;
    options.timeout = kPatienceToMeet;
    return c10::make_intrusive<c10d::PrefixStore>(
        "ounce" + place.attempt, c10::make_intrusive<c10d::TCPStore>(place.address, options));
  }

  /// Gloo would wait as long for its peers as for a message.
  static void wait_for_all(c10d::Store& store, int size, const Waiting& waiting) {
    const auto end = std::chrono::steady_clock::now() + kPatienceToMeet;
    store.add(kCome, 1);
    for (;;) {
      const int64_t come = store.add(kCome, 0);
      if (come >= size) return;
      if (waiting && !waiting(come)) throw Error("was told to stop");
      if (std::chrono::steady_clock::now() > end) {
        throw Error("only " + std::to_string(come) + " of " + std::to_string(size) + " have come");
      }
      std::this_thread::sleep_for(kGlance / 5);
    }
  }

  static std::shared_ptr<::gloo::transport::Device> device(const Place& place) {
    using Gloo = c10d::ProcessGroupGloo;
    if (const auto name = variable("GLOO_SOCKET_IFNAME")) {
      return Gloo::createDeviceForInterface(*name);
    }
    if (place.address == kThisMachine) return Gloo::createDeviceForHostname(kThisMachine);
    return Gloo::createDefaultDevice();
  }

  [[noreturn]] void explain(const std::exception& error) {
    lifeline_->doubt();
    const std::string verdict = lifeline_->wait_for_verdict();
    end(verdict.empty() ? "a message did not arrive: " + reason_of(error) : verdict);
  }

  [[noreturn]] void end(const std::string& verdict) {
    // Rank 0 may serve what the others are going to read.
    lifeline_->pass_verdict(verdict);
    is_broken_ = true;
    throw Error(verdict, "the run's " + std::to_string(gloo_->getSize()) + " processes",
                "the same command again: it goes on from the last checkpoint");
  }

  int rank_;
  bool is_broken_ = false;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
  std::unique_ptr<Lifeline> lifeline_;
};

World::World() = default;

World::World(const Place& place, const Waiting& waiting) : rank_(place.rank), size_(place.size) {
  if (size_ > 1) group_ = std::make_unique<Group>(place, waiting);
}

World::~World() = default;

void World::all_reduce(const at::Tensor& tensor, Reduction reduction) {
  if (!group_) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> host = {tensor.detach().cpu().contiguous()};
  c10d::AllreduceOptions options;
  options.reduceOp = operation_of(reduction);
  group_->wait(group_->gloo().allreduce(host, options));
  if (!host[0].is_same(tensor)) at::Tensor(tensor).copy_(host[0]);
}

void World::average(const std::vector<at::Tensor>& tensors) {
  if (!group_) return;
  const at::NoGradGuard no_grad;
  for (size_t first = 0; first < tensors.size();) {
    std::vector<at::Tensor> flat;
    size_t end = first;
    for (int64_t elements = 0; end < tensors.size() && (end == first || elements < kBucket) &&
                               tensors[end].scalar_type() == tensors[first].scalar_type();
         ++end) {
      elements += tensors[end].numel();
      flat.push_back(tensors[end].detach().reshape({-1}));
    }
    const at::Tensor bucket = at::cat(flat);
    all_reduce(bucket);
    bucket.div_(size_);
    int64_t offset = 0;
    for (; first < end; ++first) {
      const at::Tensor& tensor = tensors[first];
      at::Tensor(tensor).copy_(bucket.narrow(0, offset, tensor.numel()).view(tensor.sizes()));
      offset += tensor.numel();
    }
  }
}

void World::broadcast(const std::vector<at::Tensor>& tensors) {
  if (!group_ || tensors.empty()) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> parts;
  for (const at::Tensor& tensor : tensors) parts.push_back(bytes_of(tensor));
  std::vector<at::Tensor> message = {at::cat(parts)};
  group_->wait(group_->gloo().broadcast(message));
  int64_t offset = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor bytes = message[0].narrow(0, offset, parts[i].numel()).clone();
    at::Tensor(tensors[i]).copy_(bytes.view(tensors[i].scalar_type()).view(tensors[i].sizes()));
    offset += parts[i].numel();
  }
}

std::string World::broadcast(const std::string& text) {
  if (!group_) return text;
  at::Tensor length = at::scalar_tensor(static_cast<int64_t>(text.size()), at::kLong);
  broadcast({length});
  at::Tensor bytes = at::zeros({length.item<int64_t>()}, at::kByte);
  if (is_first()) std::copy(text.begin(), text.end(), bytes.data_ptr<uint8_t>());
  if (bytes.numel() > 0) broadcast({bytes});
  const auto* first = bytes.data_ptr<uint8_t>();
  return {first, first + bytes.numel()};
}

at::Tensor World::gather(const at::Tensor& tensor) {
  if (!group_) return tensor.detach().unsqueeze(0);
  std::vector<at::Tensor> own = {tensor.detach().cpu().contiguous()};
  std::vector<std::vector<at::Tensor>> all(1);
  for (int i = 0; i < size_; ++i) all[0].push_back(at::empty_like(own[0]));
  group_->wait(group_->gloo().allgather(all, own));
  return at::stack(all[0]).to(tensor.device());
}

void World::barrier() {
  all_reduce(at::zeros({1}));
}

void World::leave(const std::string& reason) noexcept {
  if (group_) group_->leave(reason);
}

namespace {
World* current_world = nullptr;
}  // namespace

World& world() {
  static World alone;
  return current_world != nullptr ? *current_world : alone;
}

Membership::Membership(World& other) : before_(current_world) {
  current_world = &other;
}

Membership::~Membership() {
  current_world = before_;
}

}  // namespace ounce::train
