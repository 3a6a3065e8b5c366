#include "cli/examine.h"

#include "cli/calibration_inputs.h"
#include "report/quantization.h"

namespace ounce::cli {

report::Examination examine(const quantize::Comparison& comparison, const Graph& exact,
                            const Graph& quantized, quantize::InputSource& source, int64_t pictures,
                            int threads, Progress& progress) {
  const quantize::Progress hooks = quantize_hooks(progress);
  const auto diagnoses = quantize::diagnose(exact, quantized, source, threads, hooks);
  quantize::Sensitivity sensitivity;
  if (pictures > 0) {
    quantize::FirstRuns few(source, pictures);
    sensitivity = quantize::measure_sensitivity(exact, quantized, few, threads, hooks);
  }
  return report::examination_of(comparison, diagnoses, sensitivity);
}

}  // namespace ounce::cli
