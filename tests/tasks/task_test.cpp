#include "tasks/task.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "graph/error.h"
#include "tasks/classification/accuracy.h"
#include "tests/support/test_data.h"

namespace ounce::tasks {
namespace {

namespace fs = std::filesystem;

Graph graph_of(SymbolicShape shape) {
  Graph graph;
  graph.add_input("pixels", DType::f32, std::move(shape));
  return graph;
}

TEST(Accuracy, TopClassesBreakTiesByOrder) {
  const Tensor scores = Tensor::of<float>({1, 5, 2, 5, -3}, {1, 5});
  const std::vector<RankedClass> top = top_classes(scores, 3);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[0].class_index, 1);
  EXPECT_EQ(top[1].class_index, 3);
  EXPECT_EQ(top[2].class_index, 2);
  EXPECT_EQ(top_classes(scores.reshaped({1, 5, 1, 1}), 9).size(), 5u);
}

TEST(Accuracy, LogitsBecomeProbabilitiesAndProbabilitiesStay) {
  const std::vector<RankedClass> logits =
      top_probabilities(Tensor::of<float>({1000, 1000, 0}, {1, 3}), 1);
  EXPECT_NEAR(logits[0].score, 0.5, 1e-12);
  const std::vector<RankedClass> kept =
      top_probabilities(Tensor::of<float>({0.25f, 0.75f}, {1, 2}), 1);
  EXPECT_EQ(kept[0].score, 0.75);
}

TEST(Accuracy, CountsFirstAndFirstFive) {
  Accuracy accuracy;
  const std::vector<RankedClass> ranked = {{4, 6}, {3, 5}, {2, 4}, {1, 3}, {0, 2}, {9, 1}};
  for (const int64_t right : {4, 0, 9, 7}) accuracy.add(right, ranked);
  EXPECT_DOUBLE_EQ(accuracy.metrics().at("top1"), 0.25);
  EXPECT_DOUBLE_EQ(accuracy.metrics().at("top5"), 0.5);
  EXPECT_TRUE(Accuracy().metrics().empty());
}

TEST(Accuracy, WrongShapesAndNanAreErrors) {
  EXPECT_THROW(top_classes(Tensor(DType::f32, {2, 5}), 1), Error);
  EXPECT_THROW(top_classes(Tensor(DType::f32, {1, 3, 4}), 1), Error);
  EXPECT_THROW(top_classes(Tensor(DType::f32, {5, 1}), 1), Error);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(top_classes(Tensor::of<float>({1, nan}, {1, 2}), 1), Error);
}

TEST(MakeTask, AClassifierDefaultsToImagenetAtItsSize) {
  const auto task = make_task(graph_of({Dim(1), Dim(3), Dim(224), Dim(224)}), {});
  EXPECT_EQ(task->name(), "classification");
  EXPECT_EQ(task->preprocessing(), imagenet_preprocessing(224));
}

TEST(MakeTask, OptionsWinOverStoredPreprocessingAndAreStoredAgain) {
  Graph graph = graph_of({Dim("b"), Dim(3), Dim(224), Dim(224)});
  const auto given = make_task(
      graph, {.preprocess = {.resize = "248", .crop = "224", .mean = "0.5", .std = "0.5"}});
  given->store(graph);
  const auto stored = make_task(graph, {});
  EXPECT_EQ(stored->preprocessing(), given->preprocessing());
  const auto changed = make_task(graph, {.preprocess = {.channels = "bgr"}});
  EXPECT_EQ(changed->preprocessing().channels, ChannelOrder::bgr);
  EXPECT_EQ(changed->preprocessing().resize_short, 248);
}

std::string error_of(const Graph& graph, const TaskOptions& options) {
  try {
    make_task(graph, options);
  } catch (const Error& failure) {
    return failure.what();
  }
  return "no error";
}

TEST(MakeTask, WhatDoesNotFitIsNamed) {
  const Graph fixed = graph_of({Dim(1), Dim(3), Dim(224), Dim(224)});
  EXPECT_NE(error_of(fixed, {.preprocess = {.crop = "192"}}).find("takes pictures of 224x224"),
            std::string::npos);
  EXPECT_NE(error_of(fixed, {.task = "detection"}).find("--head"), std::string::npos);
  EXPECT_NE(error_of(fixed, {.task = "singing"}).find("--task"), std::string::npos);
  const Graph open = graph_of({Dim(1), Dim(3), Dim("h"), Dim("w")});
  EXPECT_NE(error_of(open, {}).find("--crop"), std::string::npos);
  Graph hostile = fixed;
  hostile.metadata[kPreprocessKey] = "{\"crop\": 99999999}";
  EXPECT_NE(error_of(hostile, {}).find("crop"), std::string::npos);
  hostile.metadata[kPreprocessKey] = "{}";
  hostile.metadata[kClassesKey] = "[1, 2]";
  EXPECT_NE(error_of(hostile, {}).find(kClassesKey), std::string::npos);
}

TEST(MakeTask, ADescriptionBesideTheModelMakesADetector) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder.path() / "nano.toml")
      << "style = \"yolox\"\nclasses = [\"cat\", \"dog\"]\n[input]\nletterbox = 64\n";
  Graph graph = graph_of({Dim(1), Dim(3), Dim(64), Dim(64)});
  const auto task = make_task(graph, {.model = folder.path() / "nano.onnx"});
  EXPECT_EQ(task->name(), "detection");
  task->store(graph);
  const auto stored = make_task(graph, {});  // without the file
  EXPECT_EQ(stored->name(), "detection");
  EXPECT_EQ(stored->class_names(), (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(stored->preprocessing(), task->preprocessing());
  EXPECT_EQ(make_task(graph, {.task = "classification"})->name(), "classification");
}

TEST(Evaluate, ClassifiesFoldersAndReportsWhatItSkipped) {
  const testing::TemporaryFolder folder;
  for (const auto& [name, fill] : {std::pair{"dark", 10}, {"light", 240}}) {
    fs::create_directories(folder.path() / name);
    for (int i = 0; i < 3; ++i) {
      write_image(Image(20, 10, static_cast<uint8_t>(fill)),
                  folder.path() / name / (std::to_string(i) + ".png"));
    }
  }
  std::ofstream(folder.path() / "dark" / "broken.jpg") << "no picture";
  write_image(Image(20, 10, 250), folder.path() / "dark" / "mistake.png");
  const Dataset dataset = open_dataset(folder.path());
  Graph graph = graph_of({Dim(1), Dim(3), Dim(8), Dim(8)});
  const auto task = make_task(graph, {.preprocess = {.mean = "0.5", .std = "0.5"}});
  const RunModel run = [](std::span<const Tensor> inputs) {
    EXPECT_EQ(inputs[0].shape(), (Shape{1, 3, 8, 8}));
    const float light = inputs[0].data<float>()[0];
    return std::vector<Tensor>{Tensor::of<float>({-light, light}, {1, 2})};
  };
  int64_t calls = 0;
  const EvaluationResult result = evaluate(*task, dataset, run, [&](int64_t done, int64_t total) {
    EXPECT_LE(done, total);
    ++calls;
    return true;
  });
  EXPECT_EQ(result.pictures, 7);
  EXPECT_EQ(calls, 7);
  EXPECT_NEAR(result.metrics.at("top1"), 6.0 / 7, 1e-12);
  ASSERT_EQ(result.skipped.size(), 1u);
  EXPECT_NE(result.skipped[0].path.find("broken.jpg"), std::string::npos);
  EXPECT_EQ(evaluate(*task, dataset, run, [](int64_t, int64_t) { return false; }).pictures, 1);
}

TEST(Evaluate, ALabelBeyondTheNetworksClassesIsAnErrorNotAMiss) {
  const testing::TemporaryFolder folder;
  for (const std::string name : {"0", "180"}) {
    fs::create_directories(folder.path() / name);
    write_image(Image(8, 8, 100), folder.path() / name / "a.png");
  }
  const auto task = make_task(graph_of({Dim(1), Dim(3), Dim(8), Dim(8)}), {});
  const RunModel run = [](std::span<const Tensor>) {
    return std::vector<Tensor>{Tensor::of<float>({0, 1}, {1, 2})};
  };
  try {
    evaluate(*task, open_dataset(folder.path()), run);
    FAIL() << "class 180 of two was counted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("class 180"), std::string::npos) << error.what();
  }
}

HeadDescription two_class_head(const std::string& classes) {
  return head_from_toml("style = \"yolov8\"\nclasses = " + classes +
                            "\n[input]\nletterbox = 64\nalign = \"top_left\"\n",
                        "head.toml");
}

Dataset one_box_dataset(const fs::path& folder) {
  write_image(Image(128, 128, 100), folder / "a.png");
  Dataset dataset;
  dataset.kind = DatasetKind::coco;
  dataset.classes = {"cat", "dog"};
  Sample& sample = dataset.samples.emplace_back();
  sample.path = folder / "a.png";
  sample.has_boxes = true;
  ObjectLabel object;
  object.box = {20, 40, 60, 120};
  object.area = object.box.area();
  object.class_index = 1;
  sample.objects.push_back(object);
  return dataset;
}

/// The box of `one_box_dataset` in a 64 x 64 input, as class `class_index`.
RunModel detector_of(size_t class_index) {
  return [class_index](std::span<const Tensor>) {
    Tensor output(DType::f32, {1, 6, 2});
    const float values[4] = {20, 40, 20, 40};
    for (size_t v = 0; v < 4; ++v) output.mutable_data<float>()[v * 2] = values[v];
    output.mutable_data<float>()[(4 + class_index) * 2] = 0.9f;
    return std::vector<Tensor>{output};
  };
}

TEST(Evaluate, DetectsInPicturePixelsAndMatchesClassesByName) {
  const testing::TemporaryFolder folder;
  const Dataset dataset = one_box_dataset(folder.path());
  const auto same = make_detection(two_class_head("[\"cat\", \"dog\"]"));
  EXPECT_DOUBLE_EQ(evaluate(*same, dataset, detector_of(1)).metrics.at("ap"), 1.0);
  EXPECT_DOUBLE_EQ(evaluate(*same, dataset, detector_of(0)).metrics.at("ap"), 0.0);
  const auto swapped = make_detection(two_class_head("[\"dog\", \"cat\"]"));
  EXPECT_DOUBLE_EQ(evaluate(*swapped, dataset, detector_of(0)).metrics.at("ap"), 1.0);
  const auto unnamed = make_detection(two_class_head("2"));
  EXPECT_DOUBLE_EQ(evaluate(*unnamed, dataset, detector_of(1)).metrics.at("ap"), 1.0);
  const auto other = make_detection(two_class_head("3"));
  EXPECT_THROW(evaluate(*other, dataset, detector_of(1)), Error);
}

TEST(Evaluate, LabelsOfTheWrongKindAreAnError) {
  Dataset pictures;
  const auto detection = make_detection(two_class_head("2"));
  EXPECT_THROW(detection->begin(pictures), Error);
  EXPECT_THROW(make_classification({})->begin(pictures), Error);
}

TEST(Findings, AreNamedFilteredAndDrawn) {
  const auto task = make_detection(two_class_head("[\"cat\", \"dog\"]"));
  Prediction prediction;
  prediction.detections = {{{10, 10, 50, 60}, 1, 0.9}, {{20, 20, 40, 40}, 0, 0.1}};
  const std::vector<Finding> shown = task->findings(prediction);
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_EQ(shown[0].label, "dog");
  EXPECT_TRUE(shown[0].has_box);
  const Image image(100, 80, 30);
  EXPECT_NE(task->draw(image, prediction), image);

  const auto classes = make_classification({}, {"tench"});
  Prediction ranked;
  ranked.classes = {0, 5};
  ranked.scores = {0.8, 0.1};
  EXPECT_EQ(classes->findings(ranked)[0].label, "tench");
  EXPECT_EQ(classes->findings(ranked)[1].label, "class 5");
  EXPECT_NE(classes->draw(image, ranked), image);
}

}  // namespace
}  // namespace ounce::tasks
