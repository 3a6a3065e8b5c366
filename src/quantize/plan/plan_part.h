#pragma once

#include <span>

#include "quantize/insert_qdq.h"
#include "quantize/plan/plan.h"

namespace ounce::quantize {

/// Some layers of a plan by themselves, with the numbers of the whole plan.
struct PlanPart {
  Plan plan;
  Calibration calibration;
};

/// What of the work before its layers a part takes along.
enum class PartInputs {
  kOwnCodes,  // the layers' operands are rounded, each by itself
  /// Also what lies between the layers before them and theirs, codes throughout as in the whole
  /// plan: tables, sums, tensors that are rounded before they are split.
  kPathOfCodes,
};

/// The plan of which only `layers` (indices into `plan.layers`) are left: they read codes of the
/// grids they had and give floats; everything else but their inputs is float, embeddings included.
/// `calibration` may have no layers yet, then the part has none either. The layers must read
/// calibrated grids.
PlanPart part_of_plan(const Graph& prepared, const Plan& plan, const Calibration& calibration,
                      std::span<const size_t> layers, PartInputs inputs = PartInputs::kOwnCodes);

}  // namespace ounce::quantize
