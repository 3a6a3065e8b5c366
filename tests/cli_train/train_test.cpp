#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include "tasks/image.h"
#include "tests/cli/run_cli.h"
#include "tests/support/test_data.h"

namespace ounce::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipe = R"(
[data]
train = "train"
test = "test"
size = 16
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[model]
width = 4
blocks = 1
[[stage]]
name = "float"
epochs = 2
batch = 16
learning_rate = 3e-3
rand_augment = [1, 5]
[[stage]]
name = "low"
method = "lsq"
epochs = 6
batch = 16
checkpoint_steps = 3
learning_rate = 1e-3
distillation = "soft"
)";

/// 16x16 pictures of bars on noise, a folder a class: rows, columns, diagonals.
void draw_pictures(const fs::path& folder, int per_class, uint32_t seed, int classes = 4) {
  uint32_t random = seed;
  const auto below = [&](uint32_t limit) {
    random = random * 1664525 + 1013904223;
    return (random >> 8) % limit;
  };
  constexpr const char* kNames[] = {"rows", "columns", "up", "down"};
  for (int label = 0; label < classes; ++label) {
    fs::create_directories(folder / kNames[label]);
    for (int i = 0; i < per_class; ++i) {
      tasks::Image image(16, 16);
      const int offset = static_cast<int>(below(4));
      for (int y = 0; y < 16; ++y) {
        for (int x = 0; x < 16; ++x) {
          const int along[] = {y, x, x + y, x - y + 16};
          const uint32_t bar = (along[label] + offset) % 4 < 2 ? 120 : 0;
          for (int c = 0; c < 3; ++c) image.at(x, y)[c] = static_cast<uint8_t>(bar + below(130));
        }
      }
      tasks::write_image(image, folder / kNames[label] / (std::to_string(i) + ".png"));
    }
  }
}

std::string bytes_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void wait_for_file(const fs::path& path) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!fs::exists(path) && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

class TrainProgram : public ::testing::Test {
 protected:
  TrainProgram() {
    draw_pictures(file("train"), 16, 1);
    draw_pictures(file("test"), 8, 2);
    write_recipe(kRecipe);
  }

  fs::path file(const std::string& name) const { return folder_.path() / name; }
  void write_recipe(const std::string& text) const { std::ofstream(file("recipe.toml")) << text; }

  CliResult train(const std::string& output, const std::vector<std::string>& settings = {},
                  const std::function<void(int pid)>& while_running = nullptr,
                  const std::function<void()>& prepare = nullptr) const {
    std::vector<std::string> words = {"train", file("recipe.toml").string(), "-o",
                                      file(output).string()};
    for (const std::string& setting : settings) {
      words.push_back("--set");
      words.push_back(setting);
    }
    return run_program("ounce-train", words, while_running, prepare);
  }

  /// A run that is killed behind the first checkpoint of its second stage.
  void train_half(const std::string& output) const {
    const CliResult result = train(output, {}, [&](int pid) {
      wait_for_file(file(output) / "checkpoint" / "low.safetensors");
      kill(pid, SIGKILL);
    });
    ASSERT_EQ(result.code, -1) << "ended before it was killed";
    ASSERT_FALSE(fs::exists(file(output) / "model.ounce"));
  }

  static void expect_one_line(const CliResult& result, const std::string& part) {
    EXPECT_EQ(result.code, 1) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.err.rfind("ounce: ", 0), 0U) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
  }

  ounce::testing::TemporaryFolder folder_;
};

TEST_F(TrainProgram, KilledAndStartedAgainEndsWithTheSameBytes) {
  const CliResult whole = train("whole");
  ASSERT_EQ(whole.code, 0) << whole.err;
  EXPECT_NE(whole.out.find("low:"), std::string::npos) << whole.out;
  train_half("killed");
  const CliResult resumed = train("killed");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  for (const char* name : {"float.ounce", "low.ounce", "model.ounce", "model.onnx",
                           "checkpoint/low.safetensors", "log.jsonl"}) {
    EXPECT_EQ(bytes_of(file("whole") / name), bytes_of(file("killed") / name)) << name;
  }
  // Nothing half written is left.
  for (const auto& entry : fs::recursive_directory_iterator(file("killed"))) {
    EXPECT_EQ(entry.path().string().find(".partial"), std::string::npos) << entry.path();
  }
}

TEST_F(TrainProgram, BatchesMadeByMoreThreadsAreTheSame) {
  for (const char* loaders : {"0", "3"}) {
    const CliResult result =
        run_program("ounce-train", {"train", file("recipe.toml").string(), "-o",
                                    file(loaders).string(), "--loaders", loaders});
    ASSERT_EQ(result.code, 0) << result.err;
  }
  EXPECT_EQ(bytes_of(file("0") / "model.ounce"), bytes_of(file("3") / "model.ounce"));
}

TEST_F(TrainProgram, BadRecipesAreOneLineAndLeaveNothing) {
  const std::string good = kRecipe;
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  const std::pair<std::string, std::string> cases[] = {
      {with("width = 4", "widht = 4"), "widht"}, {with("width = 4", "width = \"four\""), "width"},
      {with("epochs = 2", ""), "epochs"},        {with("epochs = 2", "epochs = -1"), "epochs"},
      {with("\"lsq\"", "\"lqs\""), "lqs"},       {with("[1, 5]", "[1, 500]"), "rand_augment"},
      {with("[1, 5]", "[1]"), "rand_augment"},   {with("[data]", "[data"), "recipe.toml"},
      {with("train = \"train\"", ""), "train"},  {"", "data"}};
  for (const auto& [text, part] : cases) {
    write_recipe(text);
    expect_one_line(train("run"), part);
    EXPECT_FALSE(fs::exists(file("run"))) << part;
  }
  fs::remove(file("recipe.toml"));
  expect_one_line(train("run"), "recipe.toml");
}

TEST_F(TrainProgram, DataThatIsMissingOrDoesNotFitIsOneLine) {
  expect_one_line(train("run", {"data.train=nowhere"}), "nowhere");
  draw_pictures(file("three"), 8, 3, 3);
  expect_one_line(train("run", {"data.test=three"}), "three");
  expect_one_line(train("run", {"stage.1.batch=1000"}), "1000");
  fs::create_directories(file("broken") / "rows");
  std::ofstream(file("broken") / "rows" / "0.png") << "no picture";
  expect_one_line(train("run", {"data.train=broken"}), "0.png");
  // A network of four classes for pictures of three.
  ASSERT_EQ(train("four").code, 0);
  std::string text = kRecipe;
  text.replace(text.find("width = 4\nblocks = 1"), 20, "file = \"four/model.ounce\"");
  write_recipe(text);
  expect_one_line(train("run", {"data.train=three", "data.test=three"}), "classes");
  expect_one_line(train("run", {"model.file=nowhere.onnx"}), "nowhere.onnx");
}

TEST_F(TrainProgram, ACheckpointOfAnotherNetworkIsRefusedAndStays) {
  train_half("run");
  const std::string checkpoint = bytes_of(file("run") / "checkpoint" / "low.safetensors");
  const std::string recipe = bytes_of(file("run") / "recipe.toml");
  expect_one_line(train("run", {"model.width=8"}), "other settings");
  EXPECT_EQ(bytes_of(file("run") / "checkpoint" / "low.safetensors"), checkpoint);
  EXPECT_EQ(bytes_of(file("run") / "recipe.toml"), recipe);
  // One that was put there from another run's folder.
  fs::create_directories(file("other") / "checkpoint");
  fs::copy(file("run") / "checkpoint" / "float.safetensors", file("other") / "checkpoint");
  expect_one_line(train("other", {"model.width=8"}), "float.safetensors");
  std::ofstream(file("other") / "checkpoint" / "float.safetensors") << "damaged";
  expect_one_line(train("other", {"model.width=8"}), "float.safetensors");
}

TEST_F(TrainProgram, AFullDiskLosesNothing) {
  ASSERT_EQ(train("whole").code, 0);
  train_half("run");
  const fs::path checkpoint = file("run") / "checkpoint" / "low.safetensors";
  const std::string before = bytes_of(checkpoint);
  const CliResult full = train("run", {}, nullptr, [] {
    const rlimit limit = {4096, 4096};  // less than a checkpoint, more than the log
    setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, SIG_IGN);
  });
  expect_one_line(full, "cannot write");
  EXPECT_EQ(bytes_of(checkpoint), before);
  ASSERT_EQ(train("run").code, 0);
  EXPECT_EQ(bytes_of(file("run") / "model.ounce"), bytes_of(file("whole") / "model.ounce"));
}

TEST_F(TrainProgram, OfAKilledProcessTheOtherTellsItsRankAndTheRunGoesOn) {
  const auto as_rank = [](int rank, int port) {
    return [rank, port] {
      setenv("RANK", std::to_string(rank).c_str(), 1);
      setenv("WORLD_SIZE", "2", 1);
      setenv("MASTER_ADDR", "127.0.0.1", 1);
      setenv("MASTER_PORT", std::to_string(port).c_str(), 1);
    };
  };
  // Below those that the system hands out by itself.
  const int port = 20000 + getpid() % 10000;
  const auto both = [&](int at, const std::function<void(int pid)>& while_second_runs) {
    CliResult results[2];
    std::thread second([&] { results[1] = train("run", {}, while_second_runs, as_rank(1, at)); });
    results[0] = train("run", {}, nullptr, as_rank(0, at));
    second.join();
    return std::pair(results[0], results[1]);
  };
  const auto [first, killed] = both(port, [&](int pid) {
    wait_for_file(file("run") / "checkpoint" / "low.safetensors");
    kill(pid, SIGKILL);
  });
  EXPECT_EQ(killed.code, -1);
  expect_one_line(first, "rank 1 is gone");
  EXPECT_FALSE(fs::exists(file("run") / "model.ounce"));
  const auto [resumed, other] = both(port + 1, nullptr);
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(other.code, 0) << other.err;
  EXPECT_EQ(other.out + other.err, "");
  EXPECT_TRUE(fs::exists(file("run") / "model.ounce"));
}

}  // namespace
}  // namespace ounce::cli
