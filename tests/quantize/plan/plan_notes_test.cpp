#include "quantize/plan/plan_notes.h"

#include <gtest/gtest.h>

#include "formats/formats.h"
#include "quantize/quantizer.h"
#include "tests/quantize/graphs.h"
#include "tests/support/test_data.h"

namespace ounce::quantize {
namespace {

using testing::Builder;

/// "topic: text" of all notes, a line each.
std::string notes_of(const Graph& graph, const Options& options) {
  const DryRun dry = dry_run(graph, options);
  std::string text;
  for (const PlanNote& note : plan_notes(dry.prepared, dry.plan)) {
    text += note.topic + ": " + note.text + "\n";
  }
  return text;
}

void expect_line(const std::string& text, const std::string& line) {
  EXPECT_NE(("\n" + text).find("\n" + line + "\n"), std::string::npos) << line << "\nin\n" << text;
}

Options four_bits() {
  Options options;
  options.layer.weights.bits = 4;
  options.layer.activation_bits = 4;
  return options;
}

TEST(PlanNotes, of_a_real_vit_tell_residuals_softmax_and_ends) {
  OUNCE_REQUIRE_DATA(data);
  const Graph graph = formats::read_model(data / "vit_tiny_in1k" / "vit_tiny_patch16_224.onnx");
  Options options = four_bits();
  const std::string text = notes_of(graph, options);
  expect_line(
      text,
      "first layer: /patch_embed/proj/Conv (Conv): weights 4 bit, activations 4 bit (--option "
      "keep-ends8=on: 8 bit)");
  expect_line(text,
              "last layer: /head/Gemm (Gemm): weights 4 bit, activations 4 bit (--option "
              "keep-ends8=on: 8 bit)");
  expect_line(text,
              "residual additions: 24 in float: residuals of linear layers keep their precision");
  expect_line(text, "softmax maps: 12 computed in float, read on a grid of 4 bit");
  EXPECT_EQ(text.find("decoding"), std::string::npos);
  EXPECT_EQ(text.find("picture"), std::string::npos);
  options.softmax = SoftmaxCodes::kLogSqrt2;
  options.keep_ends8 = true;
  const std::string other = notes_of(graph, options);
  expect_line(other, "softmax maps: 12 computed in float, read as log-sqrt2 codes of 4 bit");
  expect_line(other, "last layer: /head/Gemm (Gemm): weights 8 bit, activations 8 bit");
}

TEST(PlanNotes, of_a_real_detector_tell_what_decodes) {
  OUNCE_REQUIRE_DATA(data);
  const Graph graph = formats::read_model(data / "yolox_nano" / "yolox_nano.onnx");
  const std::string text = notes_of(graph, {});
  expect_line(text, "decoding: 4 Concat, 6 Sigmoid behind the last layers stay in float");
  // Three scales with three heads each.
  size_t last = 0;
  for (size_t at = text.find("last layer:"); at != std::string::npos;
       at = text.find("last layer:", at + 1)) {
    ++last;
  }
  EXPECT_EQ(last, 9U) << text;
  const DryRun dry = dry_run(graph, {});
  for (const KeptFloat& kept : dry.plan.kept_float) {
    EXPECT_EQ(kept.reason, "behind the last layers: outputs are decoded in float") << kept.node;
  }
}

TEST(PlanNotes, of_a_real_resnet_tell_that_residuals_are_codes) {
  OUNCE_REQUIRE_DATA(data);
  const std::string text =
      notes_of(formats::read_model(data / "resnet_cifar10" / "resnet20.onnx"), {});
  expect_line(text, "first layer: /conv1/Conv (Conv): weights 8 bit, activations 8 bit");
  expect_line(text, "last layer: /linear/Gemm (Gemm): weights 8 bit, activations 8 bit");
  EXPECT_NE(text.find("residual additions: 8 on codes"), std::string::npos) << text;
  EXPECT_EQ(text.find("softmax"), std::string::npos);
}

TEST(PlanNotes, of_super_resolution_tell_that_the_picture_stays_in_float) {
  Builder b(9);
  const ValueId image = b.input("image", {1, 3, 12, 12});
  ValueId x = b.op("Relu", {b.conv(image, 3, 8, 3, "first")}, "act");
  AttributeMap block;
  block.set("blocksize", int64_t{2});
  x = b.op("DepthToSpace", {b.conv(x, 8, 12, 3, "last")}, "picture", block);
  const std::string text = notes_of(b.finish({x}), {});
  expect_line(
      text,
      "picture: output 'picture' is handed out in float: no grid rounds it or cuts its range");
  expect_line(text, "last layer: last (Conv): weights 8 bit, activations 8 bit");
}

}  // namespace
}  // namespace ounce::quantize
