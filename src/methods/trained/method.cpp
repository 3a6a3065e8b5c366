#include "methods/trained/method.h"

#include <array>

#include "methods/trained/bi_vit.h"
#include "methods/trained/lsq.h"
#include "methods/trained/q_vit.h"
#include "methods/trained/rbonn.h"
#include "methods/trained/react.h"
#include "methods/trained/rebnn.h"
#include "methods/trained/tervit.h"

namespace ounce::methods {
namespace {

class Float final : public TrainedMethod {
 public:
  train::Student student(const Graph& network) override { return {network, {}}; }
};

std::unique_ptr<TrainedMethod> read_float(Settings& /*stage*/) {
  return std::make_unique<Float>();
}

}  // namespace

std::span<const TrainedMethodRow> trained_methods() {
  static constexpr std::array<TrainedMethodRow, 8> kRows = {{
      {"float", "no quantization: teachers, and first stages", "", read_float},
      {"lsq", "learned steps of weights and activations, 2 to 8 bits",
       "Esser et al. 2020, arXiv 1902.08153; Bhalgat et al. 2020, arXiv 2004.09576", read_lsq},
      {"q-vit", "vision transformers whose attention is quantized, too, 2 to 8 bits",
       "Li et al. 2022, arXiv 2210.06707", read_q_vit},
      {"react", "signs of activations before float weights: the first stage of binary networks",
       "Liu et al. 2020, arXiv 2003.03488", read_react},
      {"rebnn", "binary weights and activations, scales learned against flips of signs",
       "Xu et al. 2023, arXiv 2302.00956", read_rebnn},
      {"rbonn", "binary weights and activations, filters that lag behind take a look ahead",
       "Xu et al. 2022, arXiv 2209.01542", read_rbonn},
      {"tervit", "vision transformers with ternary weights and 8-bit activations",
       "Xu et al. 2022, arXiv 2201.08050", read_tervit},
      {"bi-vit", "vision transformers with one bit for weights, activations and attention",
       "Li et al. 2023, arXiv 2305.12354", read_bi_vit},
  }};
  return kRows;
}

}  // namespace ounce::methods
