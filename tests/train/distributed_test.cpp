#include "train/distributed.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "graph/error.h"
#include "tests/support/test_data.h"
#include "tests/train/small_network.h"
#include "train/insert.h"
#include "train/losses.h"
#include "train/quantizers/lsq.h"
#include "train/quantizers/min_mse.h"
#include "train/quantizers/running_range.h"
#include "train/quantizers/sign_activation.h"
#include "train/quantizers/sign_weight.h"
#include "train/trainer.h"

namespace ounce::train {
namespace {

namespace fs = std::filesystem;
using Settings = std::map<std::string, std::string>;

// --- What ranks and a process alone both train ---

Student quantized(const Graph& graph, const FakeQuantInserter::MakeQuantizer& activation,
                  const std::function<std::shared_ptr<Quantizer>(const Slices&)>& weight) {
  FakeQuantInserter inserter(graph);
  for (const ProductLayer& layer : product_layers(graph)) {
    inserter.quantize(layer.node, 0, inserter.shared_name(layer.node, 0), activation);
    inserter.quantize(layer.node, 1, inserter.shared_name(layer.node, 1), [&] {
      return weight({layer.channel_axis, layer.channels});
    });
  }
  return inserter.finish();
}

std::shared_ptr<Quantizer> lsq_weight(const Slices& slices) {
  return std::make_shared<LsqWeight>(LsqOptions{.bits = 4, .slices = slices});
}

/// A weight that flips, and whose gamma is the largest gradient: what a hook sees must be averaged.
class GradientGamma : public LearnedSignWeight {
 public:
  explicit GradientGamma(const Slices& slices)
      : LearnedSignWeight({.channels = slices, .adaptive = true}) {}

 protected:
  void on_step(const SignStep& step) override { set_gamma(largest_gradients(step, channels())); }
};

constexpr const char* kNetworks[] = {"batch norm",    "layer norm",  "lsq",
                                     "running range", "least error", "signs"};

Module network(const std::string& name) {
  const auto made = [&](const FakeQuantInserter::MakeQuantizer& activation,
                        const auto& weight) -> Module {
    Student student = quantized(ounce::testing::small_network(), activation, weight);
    return Module(std::move(student.graph), std::move(student.quantizers));
  };
  if (name == "layer norm") return Module(ounce::testing::layer_normalised_network());
  if (name == "batch norm") return Module(ounce::testing::small_network());
  if (name == "lsq") {
    return made(
        [] { return std::make_shared<LsqActivation>(LsqOptions{.learn_zero_point = true}); },
        lsq_weight);
  }
  if (name == "running range") {
    return made([] { return std::make_shared<RunningRange>(RunningRangeOptions{}); }, lsq_weight);
  }
  if (name == "least error") {
    return made([] { return std::make_shared<MinMseActivation>(MinMseActivationOptions{}); },
                lsq_weight);
  }
  return made([] { return std::make_shared<LearnedBinarizer>(LearnedBinarizerOptions{}); },
              [](const Slices& slices) { return std::make_shared<GradientGamma>(slices); });
}

constexpr int64_t kBatch = 24;
constexpr int64_t kSteps = 12;  // two epochs

TrainerOptions options(const fs::path& checkpoint) {
  TrainerOptions result;
  result.epochs = 2;
  result.optimizer.kind = OptimizerKind::kSgd;
  result.optimizer.learning_rate = 0.05;
  result.clip_norm = 1;
  result.ema = 0.5;
  result.checkpoint = checkpoint;
  result.checkpoint_steps = 2;
  return result;
}

/// Calls `at_step` before each step's loss.
void train(Module& module, const fs::path& checkpoint,
           const std::function<void(int64_t step)>& at_step = nullptr) {
  BatchSource::Options batches;
  batches.batch_size = kBatch;
  batches.augmentation.flip = true;
  batches.augmentation.mixup = 0.5;
  const BatchSource source(ounce::testing::channel_pictures(kBatch * kSteps / 2), batches);
  Objective objective;
  objective.loss = [&](const Batch& batch, const Progress& progress) {
    if (at_step) at_step(progress.step);
    at::Tensor loss = cross_entropy(module(batch.inputs), batch);
    const at::Tensor penalty = module.penalty();
    return penalty.defined() ? loss + penalty : loss;
  };
  Trainer trainer(module, options(checkpoint));
  trainer.run(source, objective);
}

void save_state(const Module& module, const fs::path& path) {
  Checkpoint state;
  for (const Parameter& parameter : module.parameters()) {
    state.tensors[parameter.name] = parameter.tensor.detach();
  }
  for (const NamedTensor& buffer : module.buffers()) state.tensors[buffer.name] = buffer.tensor;
  write_checkpoint(state, path);
}

// --- Processes ---

/// A port that was free a moment ago.
int free_port() {
  const int socket_of = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(bind(socket_of, generic, length), 0);
  EXPECT_EQ(getsockname(socket_of, generic, &length), 0);
  close(socket_of);
  return ntohs(address.sin_port);
}

/// This program again, to run the worker below: a fork would lose the threads of libtorch.
pid_t start_worker(const Settings& settings) {
  std::vector<std::string> words = {"worker", "--gtest_filter=Worker.DISABLED_DoesItsPart",
                                    "--gtest_also_run_disabled_tests"};
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.push_back(*variable);
  for (const auto& [name, value] : settings) variables.push_back(name + '=' + value);
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (std::string& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
  };
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  EXPECT_EQ(posix_spawn(&child, "/proc/self/exe", &quiet, nullptr, pointers(words).data(),
                        pointers(variables).data()),
            0);
  posix_spawn_file_actions_destroy(&quiet);
  return child;
}

/// Starts ranks that do `what`, and waits for all of them; statuses by rank.
std::vector<int> run_ranks(int count, const std::string& what, const fs::path& folder) {
  const std::string port = std::to_string(free_port());
  std::vector<pid_t> children;
  for (int rank = 0; rank < count; ++rank) {
    children.push_back(start_worker({{"RANK", std::to_string(rank)},
                                     {"WORLD_SIZE", std::to_string(count)},
                                     {"MASTER_ADDR", "127.0.0.1"},
                                     {"MASTER_PORT", port},
                                     {"OMP_NUM_THREADS", "1"},
                                     {"OUNCE_WORK", what},
                                     {"OUNCE_FOLDER", folder.string()}}));
  }
  std::vector<int> statuses;
  for (const pid_t child : children) {
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    statuses.push_back(status);
  }
  return statuses;
}

/// A rank leaves its state or its error in the folder.
fs::path state_of(const fs::path& folder, int rank, const std::string& network = kNetworks[0]) {
  return folder / (network + std::to_string(rank));
}
fs::path error_of(const fs::path& folder, int rank) {
  return folder / ("error" + std::to_string(rank));
}
std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void check_messages() {
  const int rank = world().rank();
  const int size = world().size();
  const at::Tensor ranks = at::arange(4).to(at::kFloat) + rank;
  const at::Tensor sum = ranks.clone();
  world().all_reduce(sum);
  EXPECT_TRUE(at::equal(sum, at::arange(4).to(at::kFloat) * size + size * (size - 1) / 2));
  const at::Tensor least = ranks.clone();
  world().all_reduce(least, Reduction::kLeast);
  EXPECT_TRUE(at::equal(least, at::arange(4).to(at::kFloat)));
  const at::Tensor largest = ranks.clone();
  world().all_reduce(largest, Reduction::kLargest);
  EXPECT_TRUE(at::equal(largest, at::arange(4).to(at::kFloat) + (size - 1)));
  const std::vector<at::Tensor> mixed = {at::full({2, 3}, rank, at::kDouble),
                                         at::full({2}, 2 * rank, at::kFloat),
                                         at::full({}, 4 * rank, at::kFloat)};
  world().average(mixed);
  for (size_t i = 0; i < mixed.size(); ++i) {
    const double mean = (size - 1) / 2.0 * static_cast<double>(1 << i);
    EXPECT_TRUE(mixed[i].eq(mean).all().item<bool>()) << i;
  }
  const std::vector<at::Tensor> state = {at::full({3}, rank == 0, at::kBool),
                                         at::full({2, 2}, rank + 0.5, at::kFloat),
                                         at::full({}, rank + 7, at::kLong)};
  world().broadcast(state);
  EXPECT_TRUE(state[0].all().item<bool>());
  EXPECT_TRUE(state[1].eq(0.5).all().item<bool>());
  EXPECT_EQ(state[2].item<int64_t>(), 7);
  EXPECT_EQ(world().broadcast("of rank " + std::to_string(rank)), "of rank 0");
  EXPECT_EQ(world().broadcast(std::string()), "");
  const at::Tensor all = world().gather(at::full({2}, rank, at::kFloat));
  EXPECT_TRUE(
      at::equal(all, at::arange(size).to(at::kFloat).unsqueeze(1).expand({size, 2}).contiguous()));
}

/// What a started rank does; not a test by itself.
TEST(Worker, DISABLED_DoesItsPart) {
  const char* work = std::getenv("OUNCE_WORK");
  if (work == nullptr) GTEST_SKIP() << "is started by the tests below";
  const std::string what = work;
  const fs::path folder = std::getenv("OUNCE_FOLDER");
  World joined(place_from_environment());
  const Membership membership(joined);
  const int rank = world().rank();
  try {
    if (what == "messages") return check_messages();
    if (what == "train") {
      for (const char* name : kNetworks) {
        Module module = network(name);
        train(module, {});
        save_state(module, state_of(folder, rank, name));
      }
      return world().barrier();
    }
    Module module = network(kNetworks[0]);
    train(module, folder / "checkpoint", [&](int64_t step) {
      if (what == "be killed" && rank == 1 && step == 7) std::raise(SIGKILL);
      if (what == "kill the first" && rank == 0 && step == 7) std::raise(SIGKILL);
      if (what == "fail" && rank == 1 && step == 3) throw Error("has had enough");
    });
    save_state(module, state_of(folder, rank));
    world().barrier();
  } catch (const std::exception& error) {
    std::ofstream(error_of(folder, rank)) << error.what();
    world().leave(error.what());
    FAIL() << error.what();
  }
}

// --- Promises ---

void expect_near(const Module& module, const Checkpoint& state, double tolerance) {
  const auto check = [&](const std::string& name, const at::Tensor& own) {
    const at::Tensor other = state.tensor(name);
    if (!own.is_floating_point()) {
      EXPECT_TRUE(at::equal(own, other)) << name;
      return;
    }
    const double worst = (own - other).abs().max().item<double>();
    EXPECT_LE(worst, tolerance * std::max(1.0, own.abs().max().item<double>())) << name;
  };
  for (const Parameter& parameter : module.parameters()) check(parameter.name, parameter.tensor);
  for (const NamedTensor& buffer : module.buffers()) check(buffer.name, buffer.tensor);
}

/// Two processes that have trained every network, started once.
class EveryNetwork : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<ounce::testing::TemporaryFolder>();
    statuses_ = run_ranks(2, "train", folder_->path());
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::unique_ptr<ounce::testing::TemporaryFolder> folder_;
  static std::vector<int> statuses_;
};
std::unique_ptr<ounce::testing::TemporaryFolder> EveryNetwork::folder_;
std::vector<int> EveryNetwork::statuses_;

TEST_P(EveryNetwork, OfTwoProcessesLearnsWhatThatOfOneDoesWithTheWholeBatch) {
  ASSERT_EQ(statuses_, (std::vector<int>{0, 0}));
  Module alone = network(GetParam());
  train(alone, {});
  const fs::path first = state_of(folder_->path(), 0, GetParam());
  expect_near(alone, read_checkpoint(first), 1e-5);
  EXPECT_EQ(text_of(first), text_of(state_of(folder_->path(), 1, GetParam())));
}
INSTANTIATE_TEST_SUITE_P(Networks, EveryNetwork, ::testing::ValuesIn(kNetworks),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST(Distributed, MessagesReachAllThreeRanks) {
  const ounce::testing::TemporaryFolder folder;
  EXPECT_EQ(run_ranks(3, "messages", folder.path()), (std::vector<int>{0, 0, 0}));
}

TEST(Distributed, AKilledRankIsNamedAndTheRunGoesOnAfterwards) {
  const ounce::testing::TemporaryFolder folder;
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<int> statuses = run_ranks(3, "be killed", folder.path());
  const auto taken = std::chrono::steady_clock::now() - begin;
  EXPECT_TRUE(WIFSIGNALED(statuses[1]));
  for (const int rank : {0, 2}) {
    EXPECT_TRUE(WIFEXITED(statuses[static_cast<size_t>(rank)]));
    const std::string error = text_of(error_of(folder.path(), rank));
    EXPECT_NE(error.find("rank 1 is gone"), std::string::npos) << error;
  }
  // 5 s as promised, and starting three processes on a busy machine.
  EXPECT_LT(taken, std::chrono::seconds(20));
  EXPECT_EQ(run_ranks(2, "go on", folder.path()), (std::vector<int>{0, 0}));
  Module alone = network(kNetworks[0]);
  train(alone, {});
  expect_near(alone, read_checkpoint(state_of(folder.path(), 0)), 1e-5);
}

TEST(Distributed, TheFirstRankIsNamedToo) {
  const ounce::testing::TemporaryFolder folder;
  const std::vector<int> statuses = run_ranks(2, "kill the first", folder.path());
  EXPECT_TRUE(WIFSIGNALED(statuses[0]));
  const std::string error = text_of(error_of(folder.path(), 1));
  EXPECT_NE(error.find("rank 0"), std::string::npos) << error;
}

TEST(Distributed, AnErrorOfOneRankEndsTheOthers) {
  const ounce::testing::TemporaryFolder folder;
  run_ranks(2, "fail", folder.path());
  EXPECT_EQ(text_of(error_of(folder.path(), 1)), "has had enough");
  const std::string error = text_of(error_of(folder.path(), 0));
  EXPECT_NE(error.find("rank 1 has ended: has had enough"), std::string::npos) << error;
}

/// Sets variables for as long as it lives, and clears what starters set.
class Environment {
 public:
  explicit Environment(const Settings& settings) {
    for (const char* name :
         {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_RANK",
          "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_PROCID", "SLURM_NTASKS",
          "SLURM_LAUNCH_NODE_IPADDR", "TORCHELASTIC_USE_AGENT_STORE"}) {
      unsetenv(name);
    }
    for (const auto& [name, value] : settings) {
      setenv(name.c_str(), value.c_str(), 1);
      names_.insert(name);
    }
  }
  ~Environment() {
    for (const std::string& name : names_) unsetenv(name.c_str());
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::set<std::string> names_;
};

TEST(Places, AreWhatEachStarterSays) {
  {
    const Environment none({});
    EXPECT_EQ(place_from_environment().size, 1);
  }
  {
    const Environment torchrun({{"RANK", "3"},
                                {"WORLD_SIZE", "8"},
                                {"MASTER_ADDR", "node1"},
                                {"MASTER_PORT", "1234"},
                                {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
    const Place place = place_from_environment();
    EXPECT_EQ(place.rank, 3);
    EXPECT_EQ(place.size, 8);
    EXPECT_EQ(place.address, "node1");
    EXPECT_EQ(place.port, 1234);
    EXPECT_TRUE(place.is_served);
  }
  {
    const Environment mpirun({{"OMPI_COMM_WORLD_RANK", "1"},
                              {"OMPI_COMM_WORLD_SIZE", "2"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
    const Place place = place_from_environment();
    EXPECT_EQ(place.rank, 1);
    EXPECT_EQ(place.address, "127.0.0.1");
  }
  {
    const Environment slurm(
        {{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "6"}, {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.7"}});
    const Place place = place_from_environment();
    EXPECT_EQ(place.rank, 5);
    EXPECT_EQ(place.size, 6);
    EXPECT_EQ(place.address, "10.0.0.7");
    EXPECT_EQ(place.port, 29500);
  }
}

TEST(Places, ThatMakeNoSenseNameTheVariable) {
  const auto error_of_place = [](const Settings& settings) -> std::string {
    const Environment environment(settings);
    try {
      place_from_environment();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const auto names = [&](const Settings& settings, const char* name) {
    const std::string error = error_of_place(settings);
    EXPECT_EQ(error.rfind(name, 0), 0U) << error;
  };
  names({{"WORLD_SIZE", "2"}}, "RANK: ");
  names({{"RANK", "2"}, {"WORLD_SIZE", "2"}}, "RANK: ");
  names({{"RANK", "0"}, {"WORLD_SIZE", "two"}}, "WORLD_SIZE: ");
  names({{"RANK", "0"}, {"WORLD_SIZE", "2"}}, "MASTER_ADDR: ");
  names({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "x"}},
        "MASTER_PORT: ");
  names({{"OMPI_COMM_WORLD_RANK", "0"},
         {"OMPI_COMM_WORLD_SIZE", "4"},
         {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}},
        "MASTER_ADDR: ");
}

}  // namespace
}  // namespace ounce::train
