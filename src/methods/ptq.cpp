#include "methods/ptq.h"

namespace ounce::methods {
namespace {

const MethodOption kPercentile = {"percentile", "99.99", "share of the data inside the range"};

template <quantize::RangeRule kRule>
quantize::Options ptq(const Request& request) {
  constexpr bool kSearchWeights = kRule == quantize::RangeRule::kMse;
  quantize::Options options = common_settings(request, kSearchWeights ? "mse" : "auto");
  options.layer.range = kRule;
  if (kRule == quantize::RangeRule::kPercentile) {
    options.layer.percentile = option_number(request, kPercentile);
  }
  return options;
}

template <quantize::RangeRule kRule>
Method make(std::string_view summary) {
  Method method;
  method.name = quantize::name_of(kRule);
  method.summary = summary;
  method.needs = "some tens of unlabelled inputs";
  method.options = common_options(kRule == quantize::RangeRule::kMse ? "mse" : "auto");
  if (kRule == quantize::RangeRule::kPercentile) method.options.push_back(kPercentile);
  method.configure = ptq<kRule>;
  return method;
}

}  // namespace

std::vector<Method> ptq_methods() {
  using quantize::RangeRule;
  Method kl = make<RangeRule::kKl>("activation range with the least divergence of |x|; for 8 bits");
  kl.paper = "8-bit Inference with TensorRT (S. Migacz, GTC 2017)";
  return {
      make<RangeRule::kMinMax>("activation range is the range of the data"),
      make<RangeRule::kPercentile>("activation range between two quantiles of the data"),
      make<RangeRule::kMse>(
          "both ends of the activation range, and weight scales, by least squares"),
      make<RangeRule::kSymmetricMse>("activation range symmetric about zero, by least squares"),
      kl,
  };
}

}  // namespace ounce::methods
