#pragma once

#include "cli/progress.h"
#include "quantize/analysis/compare.h"
#include "report/report.h"

namespace ounce::cli {

/// Looks for why a quantized model loses what `comparison` says: diagnoses on all of `source`, and,
/// where `pictures` is not 0, the sensitivity of every layer on the first so many inputs.
report::Examination examine(const quantize::Comparison& comparison, const Graph& exact,
                            const Graph& quantized, quantize::InputSource& source, int64_t pictures,
                            int threads, Progress& progress);

}  // namespace ounce::cli
