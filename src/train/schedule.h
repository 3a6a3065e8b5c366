#pragma once

#include <cstdint>
#include <vector>

namespace ounce::train {

enum class ScheduleKind { kConstant, kCosine, kLinear, kStep };

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kCosine;
  double warmup = 0;               // share of all steps, from 0 linearly to 1
  double floor = 0;                // least factor (cosine, linear)
  std::vector<double> milestones;  // shares of all steps where `step` multiplies by `decay`
  double decay = 0.1;
};

/// What the learning rate is multiplied with in step `step` (from 0) of `steps`.
double rate_factor(const ScheduleOptions& options, int64_t step, int64_t steps);

}  // namespace ounce::train
