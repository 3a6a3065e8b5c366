#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "capi/ounce.h"
#include "engine/session.h"
#include "tests/capi/models.h"
#include "tests/support/tensors.h"
#include "tests/support/test_data.h"

namespace ounce {
namespace {

namespace fs = std::filesystem;
using ::ounce::testing::random_tensor;
using ::ounce::testing::TemporaryFolder;

std::vector<char> bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

ounce_tensor view(const Tensor& tensor) {
  return {static_cast<int32_t>(tensor.dtype()), tensor.shape().size(), tensor.shape().data(),
          tensor.raw(), tensor.bytes()};
}

/// A model on disk, loaded.
class CApi : public ::testing::Test {
 protected:
  void SetUp() override {
    graph_ = testing::small_model();
    path_ = folder_.path() / "small.ounce";
    formats::write_ounce(graph_, path_);
    ASSERT_EQ(ounce_load_file(path_.c_str(), nullptr, &model_), OUNCE_OK) << ounce_last_error();
  }
  void TearDown() override { ounce_free(model_); }

  void expect_last_error(const std::string& part) {
    EXPECT_NE(std::string(ounce_last_error()).find(part), std::string::npos) << ounce_last_error();
  }

  TemporaryFolder folder_;
  fs::path path_;
  Graph graph_;
  ounce_model* model_ = nullptr;
};

void expect_equal(const ounce_tensor& got, const Tensor& wanted) {
  EXPECT_EQ(got.dtype, static_cast<int32_t>(wanted.dtype()));
  EXPECT_EQ(Shape(got.shape, got.shape + got.rank), wanted.shape());
  ASSERT_EQ(got.bytes, wanted.bytes());
  EXPECT_EQ(std::memcmp(got.data, wanted.raw(), got.bytes), 0);
}

void run_and_compare(ounce_model* model, const Graph& graph, int64_t batch, uint32_t seed) {
  const Tensor x = random_tensor({batch, 8}, seed);
  const ounce_tensor input = view(x);
  ASSERT_EQ(ounce_set_input(model, 0, &input), OUNCE_OK) << ounce_last_error();
  ASSERT_EQ(ounce_run(model), OUNCE_OK) << ounce_last_error();
  engine::Session session(graph);
  const std::vector<Tensor> wanted = session.run(std::vector<Tensor>{x});
  for (size_t i = 0; i < wanted.size(); ++i) {
    ounce_tensor got{};
    ASSERT_EQ(ounce_get_output(model, i, &got), OUNCE_OK) << ounce_last_error();
    expect_equal(got, wanted[i]);
  }
}

TEST_F(CApi, GivesWhatTheSessionGivesForEveryBatch) {
  for (const int64_t batch : {1, 3, 1, 2}) {
    run_and_compare(model_, graph_, batch, static_cast<uint32_t>(batch));
  }
}

TEST_F(CApi, LoadsFromMemoryWhateverItsAlignment) {
  const std::vector<char> file = bytes_of(path_);
  for (size_t shift = 0; shift < 9; ++shift) {
    std::vector<char> memory(file.size() + shift);
    std::copy(file.begin(), file.end(), memory.begin() + static_cast<long>(shift));
    ounce_model* model = nullptr;
    const ounce_options options = {2};
    ASSERT_EQ(ounce_load_memory(memory.data() + shift, file.size(), &options, &model), OUNCE_OK)
        << ounce_last_error();
    run_and_compare(model, graph_, 2, 5);
    ounce_free(model);
  }
}

TEST_F(CApi, DescribesInputsAndOutputs) {
  size_t count = 0;
  ASSERT_EQ(ounce_input_count(model_, &count), OUNCE_OK);
  EXPECT_EQ(count, 1u);
  ASSERT_EQ(ounce_output_count(model_, &count), OUNCE_OK);
  EXPECT_EQ(count, 2u);
  ounce_port port{};
  ASSERT_EQ(ounce_input(model_, 0, &port), OUNCE_OK);
  EXPECT_STREQ(port.name, "x");
  EXPECT_EQ(port.dtype, OUNCE_F32);
  ASSERT_EQ(port.rank, 2u);
  EXPECT_EQ(port.shape[0], -1);
  EXPECT_EQ(port.shape[1], 8);
  ASSERT_EQ(ounce_output(model_, 0, &port), OUNCE_OK);
  EXPECT_EQ(port.dtype, OUNCE_F32);
  EXPECT_STRNE(ounce_version(), "");
}

TEST_F(CApi, ReadsInputsWhenItRuns) {
  Tensor x = random_tensor({1, 8}, 1);
  const ounce_tensor input = view(x);
  ASSERT_EQ(ounce_set_input(model_, 0, &input), OUNCE_OK);
  ASSERT_EQ(ounce_run(model_), OUNCE_OK);
  ounce_tensor before{};
  ASSERT_EQ(ounce_get_output(model_, 0, &before), OUNCE_OK);
  const std::vector<float> first(static_cast<const float*>(before.data),
                                 static_cast<const float*>(before.data) + 4);
  auto* memory = const_cast<float*>(static_cast<const float*>(input.data));
  for (int i = 0; i < 8; ++i) memory[i] += 1;
  ASSERT_EQ(ounce_run(model_), OUNCE_OK);
  ounce_tensor after{};
  ASSERT_EQ(ounce_get_output(model_, 0, &after), OUNCE_OK);
  EXPECT_NE(std::memcmp(first.data(), after.data, sizeof(float) * 4), 0);
}

TEST_F(CApi, RefusesNullEverywhere) {
  size_t count = 0;
  ounce_port port{};
  ounce_tensor tensor{};
  ounce_model* model = model_;
  EXPECT_EQ(ounce_load_file(nullptr, nullptr, &model), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(ounce_load_file(path_.c_str(), nullptr, nullptr), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_load_memory(nullptr, 0, nullptr, &model), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_load_memory("x", 1, nullptr, nullptr), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_input_count(nullptr, &count), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_input_count(model_, nullptr), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_output_count(nullptr, &count), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_output_count(model_, nullptr), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_input(nullptr, 0, &port), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_input(model_, 0, nullptr), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_output(nullptr, 0, &port), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_output(model_, 0, nullptr), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_set_input(nullptr, 0, &tensor), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_set_input(model_, 0, nullptr), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_run(nullptr), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_get_output(nullptr, 0, &tensor), OUNCE_BAD_ARGUMENT);
  EXPECT_EQ(ounce_get_output(model_, 0, nullptr), OUNCE_BAD_ARGUMENT);
  ounce_free(nullptr);
}

TEST_F(CApi, RefusesIndicesBeyondTheLast) {
  ounce_port port{};
  ounce_tensor tensor{};
  for (const size_t index : {size_t{2}, std::numeric_limits<size_t>::max()}) {
    EXPECT_EQ(ounce_input(model_, index, &port), OUNCE_BAD_ARGUMENT);
    EXPECT_EQ(ounce_output(model_, index, &port), OUNCE_BAD_ARGUMENT);
    EXPECT_EQ(ounce_set_input(model_, index, &tensor), OUNCE_BAD_ARGUMENT);
    EXPECT_EQ(ounce_get_output(model_, index, &tensor), OUNCE_BAD_ARGUMENT);
  }
}

TEST_F(CApi, RefusesInputsThatTheModelDoesNotTake) {
  const Tensor good = random_tensor({2, 8}, 1);
  const int64_t huge[] = {int64_t{1} << 40, int64_t{1} << 40};
  const int64_t negative[] = {-1, 8};
  const int64_t transposed[] = {8, 2};
  const std::vector<int64_t> ones(100, 1);
  struct Wrong {
    const char* what;
    ounce_tensor tensor;
  };
  const ounce_tensor right = view(good);
  const size_t rank = right.rank;
  const Wrong wrongs[] = {
      {"no type", {0, rank, right.shape, right.data, right.bytes}},
      {"no type", {19, rank, right.shape, right.data, right.bytes}},
      {"no type", {-1, rank, right.shape, right.data, right.bytes}},
      {"another type", {OUNCE_I32, rank, right.shape, right.data, right.bytes}},
      {"one dimension", {OUNCE_F32, 1, right.shape, right.data, 8}},
      {"no dimension", {OUNCE_F32, 0, nullptr, right.data, 4}},
      {"too many", {OUNCE_F32, ones.size(), ones.data(), right.data, 4}},
      {"endless", {OUNCE_F32, std::numeric_limits<size_t>::max(), right.shape, right.data, 4}},
      {"another shape", {OUNCE_F32, rank, transposed, right.data, right.bytes}},
      {"negative", {OUNCE_F32, rank, negative, right.data, right.bytes}},
      {"overflow", {OUNCE_F32, rank, huge, right.data, right.bytes}},
      {"no shape", {OUNCE_F32, rank, nullptr, right.data, right.bytes}},
      {"no data", {OUNCE_F32, rank, right.shape, nullptr, right.bytes}},
      {"too short", {OUNCE_F32, rank, right.shape, right.data, right.bytes - 1}},
      {"too long", {OUNCE_F32, rank, right.shape, right.data, right.bytes + 1}},
  };
  for (const Wrong& wrong : wrongs) {
    EXPECT_EQ(ounce_set_input(model_, 0, &wrong.tensor), OUNCE_BAD_ARGUMENT) << wrong.what;
    EXPECT_EQ(ounce_run(model_), OUNCE_NOT_READY) << wrong.what;
  }
  EXPECT_EQ(ounce_set_input(model_, 0, &wrongs[8].tensor), OUNCE_BAD_ARGUMENT);
  expect_last_error("input \"x\": expected f32 [-1, 8], got f32 [8, 2]");
}

TEST_F(CApi, GivesNoOutputBeforeARun) {
  ounce_tensor tensor{};
  EXPECT_EQ(ounce_get_output(model_, 0, &tensor), OUNCE_NOT_READY);
  EXPECT_EQ(ounce_run(model_), OUNCE_NOT_READY);
  expect_last_error("input \"x\"");
  EXPECT_EQ(ounce_get_output(model_, 0, &tensor), OUNCE_NOT_READY);
}

TEST_F(CApi, RefusesImpossibleThreads) {
  for (const int threads : {-1, 1025, std::numeric_limits<int>::max()}) {
    const ounce_options options = {threads};
    ounce_model* model = model_;
    EXPECT_EQ(ounce_load_file(path_.c_str(), &options, &model), OUNCE_BAD_ARGUMENT);
    EXPECT_EQ(model, nullptr);
  }
}

TEST_F(CApi, TellsMissingFilesFromBrokenOnes) {
  ounce_model* model = nullptr;
  EXPECT_EQ(ounce_load_file((folder_.path() / "none").c_str(), nullptr, &model), OUNCE_BAD_FILE);
  expect_last_error("none");
  EXPECT_EQ(ounce_load_file(folder_.path().c_str(), nullptr, &model), OUNCE_BAD_FILE);
  EXPECT_EQ(ounce_load_file("", nullptr, &model), OUNCE_BAD_FILE);
  for (const std::string& content : {std::string(), std::string("text"), std::string(4096, '\0')}) {
    const fs::path path = folder_.path() / "broken.ounce";
    std::ofstream(path, std::ios::binary) << content;
    EXPECT_EQ(ounce_load_file(path.c_str(), nullptr, &model), OUNCE_BAD_MODEL);
    expect_last_error("broken.ounce");
    EXPECT_EQ(ounce_load_memory(content.c_str(), content.size(), nullptr, &model), OUNCE_BAD_MODEL);
    EXPECT_EQ(model, nullptr);
  }
}

/// What loading damaged bytes may say; a model that still loads is run as well.
void expect_no_crash(const std::vector<char>& bytes) {
  ounce_model* model = nullptr;
  const int status = ounce_load_memory(bytes.data(), bytes.size(), nullptr, &model);
  if (status != OUNCE_OK) {
    EXPECT_TRUE(status == OUNCE_BAD_MODEL || status == OUNCE_CANNOT_RUN) << status;
    EXPECT_EQ(model, nullptr);
    EXPECT_STRNE(ounce_last_error(), "");
    return;
  }
  const Tensor x = random_tensor({1, 8}, 1);
  const ounce_tensor input = view(x);
  if (ounce_set_input(model, 0, &input) == OUNCE_OK) ounce_run(model);
  ounce_free(model);
}

TEST_F(CApi, SurvivesTruncatedModels) {
  const std::vector<char> whole = bytes_of(path_);
  for (size_t size = 0; size < whole.size(); size += 1 + size / 64) {
    std::vector<char> part(whole.begin(), whole.begin() + static_cast<long>(size));
    part.reserve(1);  // a pointer even where there are no bytes
    expect_no_crash(part);
  }
}

TEST_F(CApi, SurvivesDamagedModels) {
  const std::vector<char> whole = bytes_of(path_);
  std::mt19937 random(11);
  for (int round = 0; round < 500; ++round) {
    std::vector<char> damaged = whole;
    for (unsigned i = 0; i < 1 + random() % 3; ++i) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    expect_no_crash(damaged);
  }
}

TEST(CApiErrors, AShapeThatDoesNotWorkOutStopsTheRunOnly) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "open.ounce";
  formats::write_ounce(testing::open_model(), path);
  ounce_model* model = nullptr;
  ASSERT_EQ(ounce_load_file(path.c_str(), nullptr, &model), OUNCE_OK) << ounce_last_error();
  for (const int64_t size : {3, 2, 3}) {
    const Tensor x = random_tensor({size}, 1);
    const ounce_tensor input = view(x);
    ASSERT_EQ(ounce_set_input(model, 0, &input), OUNCE_OK);
    ounce_tensor output{};
    EXPECT_EQ(ounce_run(model), size == 3 ? OUNCE_OK : OUNCE_CANNOT_RUN) << ounce_last_error();
    EXPECT_EQ(ounce_get_output(model, 0, &output), size == 3 ? OUNCE_OK : OUNCE_NOT_READY);
  }
  ounce_free(model);
}

TEST(CApiErrors, EveryStatusHasAText) {
  std::vector<std::string> texts;
  for (int status = OUNCE_OK; status <= OUNCE_FAILED; ++status) {
    texts.emplace_back(ounce_error_text(status));
  }
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(std::unique(texts.begin(), texts.end()), texts.end());
  for (const int status : {-1, 8, std::numeric_limits<int>::max()}) {
    EXPECT_STREQ(ounce_error_text(status), "no such status");
  }
}

TEST(CApiErrors, EveryThreadHasItsOwnLastError) {
  ounce_run(nullptr);
  EXPECT_STREQ(ounce_last_error(), "model is NULL");
  std::thread([] { EXPECT_STREQ(ounce_last_error(), ""); }).join();
}

TEST_F(CApi, ModelsRunOnSeveralThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      ounce_model* model = nullptr;
      const ounce_options options = {2};
      ASSERT_EQ(ounce_load_file(path_.c_str(), &options, &model), OUNCE_OK);
      for (int64_t batch = 1; batch < 4; ++batch) run_and_compare(model, graph_, batch, i);
      ounce_free(model);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace ounce
