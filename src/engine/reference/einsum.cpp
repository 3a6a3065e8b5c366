#include "graph/ops/einsum.h"

#include <map>

#include "engine/reference/elementwise.h"
#include "engine/reference/families.h"

namespace ounce::engine::reference {
namespace {

/// Gives each dimension of the ellipsis a label of its own, '0' for the last one, '1' before it:
/// then all dimensions are labelled alike.
std::string expand_ellipsis(const std::string& term, size_t count) {
  const size_t dot = term.find('.');
  if (dot == std::string::npos) return term;
  std::string labels;
  for (size_t i = count; i > 0; --i) labels += static_cast<char>('0' + static_cast<int>(i - 1));
  return term.substr(0, dot) + labels + term.substr(dot + 1);
}

/// Labels of every operand and the result, and the extent of each label.
struct Equation {
  std::vector<std::string> terms;
  std::string output;
  std::map<char, int64_t> extents;

  explicit Equation(const OperatorContext& context) {
    const ops::Einsum parsed = ops::parse_einsum(context.attributes().get_string("equation", ""));
    require(parsed.inputs.size() == context.inputs.size(), "not one term an operand");
    size_t ellipsis = 0;
    for (size_t n = 0; n < parsed.inputs.size(); ++n) {
      const size_t rank = input(context, n).shape().size();
      const std::string& term = parsed.inputs[n];
      const bool has_dots = term.find('.') != std::string::npos;
      const size_t named = term.size() - (has_dots ? 1 : 0);
      require(has_dots ? rank >= named : rank == named, "a term does not fit its operand");
      require(rank - named <= 8, "an ellipsis over more than 8 dimensions");
      ellipsis = std::max(ellipsis, rank - named);
      terms.push_back(expand_ellipsis(term, rank - named));
      label_extents(terms.back(), context.inputs[n].shape());
    }
    output = expand_ellipsis(parsed.output, ellipsis);
  }

  /// Strides of an operand along each of `labels`; repeated labels walk the diagonal.
  std::vector<int64_t> strides(size_t operand, const Shape& shape, std::string_view labels) const {
    const std::vector<int64_t> own = row_major_strides(shape);
    std::vector<int64_t> result;
    for (const char label : labels) {
      int64_t stride = 0;
      for (size_t i = 0; i < shape.size(); ++i) {
        if (terms[operand][i] == label && shape[i] != 1) stride += own[i];
      }
      result.push_back(stride);
    }
    return result;
  }

 private:
  void label_extents(const std::string& term, const Shape& shape) {
    for (size_t i = 0; i < shape.size(); ++i) {
      int64_t& extent = extents.try_emplace(term[i], shape[i]).first->second;
      require(extent == shape[i] || extent == 1 || shape[i] == 1, "extents of a label differ");
      if (extent == 1) extent = shape[i];
    }
  }
};

/// result[output labels] = sum over the other labels of the product of a[..] and b[..].
template <class T>
Tensor contract(const OperatorContext& context, const Equation& equation) {
  std::string summed;
  for (const auto& [label, extent] : equation.extents) {
    if (equation.output.find(label) == std::string::npos) summed += label;
  }
  const auto shape_of = [&](std::string_view labels) {
    Shape shape;
    for (const char label : labels) shape.push_back(equation.extents.at(label));
    return shape;
  };
  const size_t operands = context.inputs.size();
  const Shape shape = shape_of(equation.output);
  const Shape inner = shape_of(summed);
  std::vector<std::vector<int64_t>> outer_strides, inner_strides;
  for (size_t n = 0; n < operands; ++n) {
    outer_strides.push_back(equation.strides(n, context.inputs[n].shape(), equation.output));
    inner_strides.push_back(equation.strides(n, context.inputs[n].shape(), summed));
  }
  Tensor y(context.inputs[0].dtype(), shape);
  T* to = mutable_elements<T>(y);
  std::vector<const T*> base(operands);
  for (Walker<0> out(shape, {}); !out.done(); out.next()) {
    for (size_t n = 0; n < operands; ++n) {
      base[n] = elements<T>(context.inputs[n]);
      for (size_t d = 0; d < shape.size(); ++d) base[n] += out.index()[d] * outer_strides[n][d];
    }
    Accumulator<T> sum = 0;
    for (Walker<0> in(inner, {}); !in.done(); in.next()) {
      Accumulator<T> product = 1;
      for (size_t n = 0; n < operands; ++n) {
        const T* at = base[n];
        for (size_t d = 0; d < inner.size(); ++d) at += in.index()[d] * inner_strides[n][d];
        product *= static_cast<Accumulator<T>>(*at);
      }
      sum += product;
    }
    *to++ = static_cast<T>(sum);
  }
  return y;
}

void einsum(OperatorContext& context) {
  const Equation equation(context);
  const DType dtype = input(context, 0).dtype();
  for (const Tensor& operand : context.inputs) require_same_dtype(context.inputs[0], operand);
  with_number_type(dtype,
                   [&]<class T>(Type<T>) { store(context, 0, contract<T>(context, equation)); });
}

constexpr OperatorEntry kEntries[] = {{"Einsum", widened<einsum>}};

}  // namespace

std::span<const OperatorEntry> einsum_operators() {
  return kEntries;
}

}  // namespace ounce::engine::reference
