#include "tests/conformance/not_run.h"

#include <algorithm>

namespace ounce::testing {
namespace {

constexpr std::string_view kStrings = "string tensors";
constexpr std::string_view kSequences = "sequence and optional types";
constexpr std::string_view kTinyFloats = "8-bit and 4-bit floats";
constexpr std::string_view kClassical = "domain ai.onnx.ml (no neural networks)";
constexpr std::string_view kSubgraph = "subgraphs";
constexpr std::string_view kTraining = "training mode";
constexpr std::string_view kNewer = "operator newer than opset 21";
constexpr std::string_view kOutside = "operator outside the table of ounce";
// Before opset 7, below what ounce reads, a slope of PRelu stood for a channel.
constexpr std::string_view kOldPRelu = "PRelu as it was before opset 7";
// -235.7 quantized to i8 is recorded as 20: -236 modulo 256. The specification of QLinearMatMul
// says that the result saturates.
constexpr std::string_view kWraps = "recorded output wraps where the specification saturates";

constexpr NotRunRow kRows[] = {
    {NotRunBy::type, "string", kStrings},
    {NotRunBy::type, "sequence", kSequences},
    {NotRunBy::type, "optional", kSequences},
    {NotRunBy::type, "float8", kTinyFloats},
    {NotRunBy::type, "float4", kTinyFloats},
    {NotRunBy::domain, "ai.onnx.ml", kClassical},
    {NotRunBy::domain, "ai.onnx.preview.training", kTraining},
    {NotRunBy::op, "If", kSubgraph},
    {NotRunBy::op, "Loop", kSubgraph},
    {NotRunBy::op, "Scan", kSubgraph},
    {NotRunBy::op, "Sequence*", kSequences},
    {NotRunBy::op, "SplitToSequence", kSequences},
    {NotRunBy::op, "OptionalGetElement", kSequences},
    {NotRunBy::op, "OptionalHasElement", kSequences},
    {NotRunBy::op, "Attention", kNewer},
    {NotRunBy::op, "RMSNormalization", kNewer},
    {NotRunBy::op, "RotaryEmbedding", kNewer},
    {NotRunBy::op, "AffineGrid", kOutside},
    {NotRunBy::op, "Bernoulli", kOutside},
    {NotRunBy::op, "BlackmanWindow", kOutside},
    {NotRunBy::op, "CenterCropPad", kOutside},
    {NotRunBy::op, "Col2Im", kOutside},
    {NotRunBy::op, "DFT", kOutside},
    {NotRunBy::op, "DeformConv", kOutside},
    {NotRunBy::op, "Det", kOutside},
    {NotRunBy::op, "GRU", kOutside},
    {NotRunBy::op, "HammingWindow", kOutside},
    {NotRunBy::op, "HannWindow", kOutside},
    {NotRunBy::op, "ImageDecoder", kOutside},
    {NotRunBy::op, "LSTM", kOutside},
    {NotRunBy::op, "MaxUnpool", kOutside},
    {NotRunBy::op, "MelWeightMatrix", kOutside},
    {NotRunBy::op, "NegativeLogLikelihoodLoss", kOutside},
    {NotRunBy::op, "RNN", kOutside},
    {NotRunBy::op, "RandomUniformLike", kOutside},
    {NotRunBy::op, "ReverseSequence", kOutside},
    {NotRunBy::op, "RoiAlign", kOutside},
    {NotRunBy::op, "STFT", kOutside},
    {NotRunBy::op, "SoftmaxCrossEntropyLoss", kOutside},
    {NotRunBy::op, "TfIdfVectorizer", kOutside},
    {NotRunBy::op, "Unique", kOutside},
    {NotRunBy::name, "batchnorm_*_training_mode", kTraining},
    {NotRunBy::name, "PReLU_*_multiparam", kOldPRelu},
    {NotRunBy::name, "training_dropout", kTraining},
    {NotRunBy::name, "training_dropout_default", kTraining},
    {NotRunBy::name, "training_dropout_default_mask", kTraining},
    {NotRunBy::name, "training_dropout_mask", kTraining},
    {NotRunBy::name, "qlinearmatmul_*_int8_float16", kWraps},
    {NotRunBy::name, "qlinearmatmul_*_int8_float32", kWraps},
};

bool matches(std::string_view text, std::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return text == pattern;
  const std::string_view head = pattern.substr(0, star);
  const std::string_view tail = pattern.substr(star + 1);
  return text.size() >= head.size() + tail.size() && text.starts_with(head) && text.ends_with(tail);
}

}  // namespace

std::span<const NotRunRow> not_run_rows() {
  return kRows;
}

bool applies(const NotRunRow& row, const ConformanceCase& test) {
  const auto any = [&](const std::set<std::string>& words) {
    return std::any_of(words.begin(), words.end(),
                       [&](const std::string& word) { return matches(word, row.pattern); });
  };
  switch (row.by) {
    case NotRunBy::name:
      return matches(test.name, row.pattern);
    case NotRunBy::op:
      return any(test.operators);
    case NotRunBy::domain:
      return any(test.domains);
    case NotRunBy::type:
      return any(test.types);
  }
  return false;
}

const NotRunRow* why_not_run(const ConformanceCase& test) {
  const auto found = std::find_if(std::begin(kRows), std::end(kRows),
                                  [&](const NotRunRow& row) { return applies(row, test); });
  return found == std::end(kRows) ? nullptr : &*found;
}

}  // namespace ounce::testing
