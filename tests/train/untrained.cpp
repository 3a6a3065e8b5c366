#include "tests/train/untrained.h"

#include <algorithm>

namespace ounce::testing {
namespace {

constexpr std::string_view kBits = "bits have no gradient";
constexpr std::string_view kIntegers = "integers have no gradient; training rounds floats instead";
constexpr std::string_view kDetections = "detections are chosen behind the network";

constexpr UntrainedRow kRows[] = {
    {"BitShift", kBits},          {"BitwiseAnd", kBits},
    {"BitwiseNot", kBits},        {"BitwiseOr", kBits},
    {"BitwiseXor", kBits},        {"ConvInteger", kIntegers},
    {"MatMulInteger", kIntegers}, {"NonMaxSuppression", kDetections},
    {"QLinearConv", kIntegers},   {"QLinearMatMul", kIntegers},
};

}  // namespace

std::span<const UntrainedRow> untrained_rows() {
  return kRows;
}

const UntrainedRow* why_untrained(std::string_view op) {
  const auto* const found = std::find_if(std::begin(kRows), std::end(kRows),
                                         [&](const UntrainedRow& row) { return row.op == op; });
  return found == std::end(kRows) ? nullptr : found;
}

}  // namespace ounce::testing
