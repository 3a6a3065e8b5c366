#include "methods/trained/ranking.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "graph/error.h"
#include "train/vector_clones.h"

#include "train/row_sums.h"

namespace ounce::methods {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using train::sum_of;
using train::sum_of_terms;

constexpr int64_t kTop = 2;     // keys of the teacher that are compared with all
constexpr int64_t kShifts = 2;  // others that every key is compared with
constexpr double kLeastDeviation = 1e-3;
constexpr int64_t kRowsOfTask = 64;  // fixed: sums depend on no thread count

/// 1 .. keys - 1. Drawn from the row's number, not from a generator: which picture has which row
/// changes from epoch to epoch, and a run that goes on from a checkpoint draws the same.
int64_t shift_of(int64_t row, int64_t which, int64_t keys) {
  uint32_t bits = static_cast<uint32_t>(row * kShifts + which) * 0x9E3779B9U;
  bits = (bits ^ (bits >> 16)) * 0x85EBCA6BU;
  bits ^= bits >> 13;
  return 1 + static_cast<int64_t>(bits % static_cast<uint32_t>(keys - 1));
}

/// Loss and its gradient, before the division by the number of pairs.
struct Sums {
  double loss = 0.0;
  double pairs = 0.0;
};

/// One row at a time. Scores are held twice in a row, so that key j + shift needs no modulo.
class RowLoss {
 public:
  RowLoss(int64_t keys, const RankingOptions& options)
      : keys_(keys),
        options_(options),
        s_(static_cast<size_t>(2 * keys)),
        t_(s_.size()),
        gradient_(s_.size()),
        push_(static_cast<size_t>(keys)),
        hinges_(push_.size()),
        counts_(push_.size()),
        top_s_(push_.size()),
        top_t_(push_.size()) {}

  void add(const float* student, const float* teacher, int64_t row, float* gradient, Sums& sums) {
    for (const int64_t half : {int64_t{0}, keys_}) {
      std::copy_n(student, keys_, s_.data() + half);
      std::copy_n(teacher, keys_, t_.data() + half);
    }
    std::fill(gradient_.begin(), gradient_.end(), 0.0F);
    theta_ = static_cast<float>(options_.margin) *
             std::max(deviation_of(student), static_cast<float>(kLeastDeviation));
    tie_ = static_cast<float>(options_.tie) * deviation_of(teacher);
    add_top(sums);
    for (int64_t which = 0; which < kShifts; ++which) {
      add_shift(shift_of(row, which, keys_), sums);
    }
    for (int64_t i = 0; i < keys_; ++i) {
      gradient[i] = gradient_[static_cast<size_t>(i)] + gradient_[static_cast<size_t>(i + keys_)];
    }
  }

 private:
  float deviation_of(const float* x) {
    const auto count = static_cast<float>(keys_);
    const float mean = sum_of(x, keys_) / count;
    float* squares = push_.data();
    for (int64_t i = 0; i < keys_; ++i) squares[i] = (x[i] - mean) * (x[i] - mean);
    return std::sqrt(sum_of(squares, keys_) / count);
  }

  /// Of the pairs of first[i] and key i + shift: `push_` becomes +-1 where the loss wants S_j - S_m
  /// larger or smaller, else 0. (No call but to this class: one would keep the compiler from packed
  /// arithmetic, as would doubts whether the results overlap.)
  void add_pairs(const float* first_s, const float* first_t, int64_t shift, Sums& sums) {
    const float* student = s_.data() + shift;
    const float* teacher = t_.data() + shift;
    float* __restrict push = push_.data();
    float* __restrict hinges = hinges_.data();
    float* __restrict counts = counts_.data();
    const float theta = theta_;
    const float tie = tie_;
    for (int64_t i = 0; i < keys_; ++i) {
      const float apart = first_t[i] - teacher[i];
      const float up = apart > tie ? 1.0F : 0.0F;
      const float down = apart < -tie ? 1.0F : 0.0F;
      const float hinge = theta - (first_s[i] - student[i]) * (up - down);
      const float active = hinge > 0.0F ? 1.0F : 0.0F;
      push[i] = active * (up - down);
      hinges[i] = active * (up + down) * hinge;
      counts[i] = up + down;
    }
    sums.loss += sum_of(hinges, keys_);
    sums.pairs += sum_of(counts, keys_);
    float* gradient = gradient_.data() + shift;
    for (int64_t i = 0; i < keys_; ++i) gradient[i] += push[i];
  }

  void add_top(Sums& sums) {
    const auto first = std::max_element(t_.begin(), t_.begin() + keys_) - t_.begin();
    int64_t second = first == 0 ? 1 : 0;
    for (int64_t i = 0; i < keys_; ++i) {
      if (i != first && t_[static_cast<size_t>(i)] > t_[static_cast<size_t>(second)]) second = i;
    }
    for (const int64_t top : {int64_t{first}, second}) {
      std::fill(top_s_.begin(), top_s_.end(), s_[static_cast<size_t>(top)]);
      std::fill(top_t_.begin(), top_t_.end(), t_[static_cast<size_t>(top)]);
      add_pairs(top_s_.data(), top_t_.data(), 0, sums);
      gradient_[static_cast<size_t>(top)] -= sum_of(push_.data(), keys_);
    }
  }

  void add_shift(int64_t shift, Sums& sums) {
    add_pairs(s_.data(), t_.data(), shift, sums);
    const float* push = push_.data();
    float* gradient = gradient_.data();
    for (int64_t j = 0; j < keys_; ++j) gradient[j] -= push[j];
  }

  int64_t keys_;
  RankingOptions options_;
  std::vector<float> s_, t_, gradient_;                        // twice the keys
  std::vector<float> push_, hinges_, counts_, top_s_, top_t_;  // one a pair
  float theta_ = 0.0F;
  float tie_ = 0.0F;
};

/// f32 in the memory of the CPU: loss and gradient in one pass over the scores, where tensor
/// operators would gather, subtract and compare [rows, 4 keys] ten times.
class RankingLoss : public torch::autograd::Function<RankingLoss> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& student,
                            const at::Tensor& teacher, const RankingOptions& options) {
    const int64_t keys = student.size(1);
    const int64_t rows = student.size(0);
    at::Tensor gradient = at::empty_like(student);
    const float* s = student.data_ptr<float>();
    const float* t = teacher.data_ptr<float>();
    float* g = gradient.data_ptr<float>();
    std::vector<Sums> partial(static_cast<size_t>((rows + kRowsOfTask - 1) / kRowsOfTask));
    const auto tasks = static_cast<int64_t>(partial.size());
    at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
      RowLoss row_loss(keys, options);
      for (int64_t row = begin * kRowsOfTask; row < std::min(rows, end * kRowsOfTask); ++row) {
        row_loss.add(s + row * keys, t + row * keys, row, g + row * keys,
                     partial[static_cast<size_t>(row / kRowsOfTask)]);
      }
    });
    Sums sums;
    for (const Sums& part : partial) {
      sums.loss += part.loss;
      sums.pairs += part.pairs;
    }
    sums.pairs = std::max(sums.pairs, 1.0);
    context->saved_data["pairs"] = sums.pairs;
    context->save_for_backward({gradient});
    return at::full({}, sums.loss / sums.pairs, student.options());
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor slope = gradients[0] / context->saved_data["pairs"].toDouble();
    return {context->get_saved_variables()[0] * slope, {}, {}};
  }
};

/// The same pairs, [rows, 4 keys] each, for any type and device.
std::pair<at::Tensor, at::Tensor> pairs_of(const at::Tensor& teacher) {
  const int64_t rows = teacher.size(0);
  const int64_t keys = teacher.size(1);
  const at::Tensor all = at::arange(keys, at::kLong).expand({rows, keys});
  const at::Tensor top = std::get<1>(teacher.topk(kTop, 1)).to(at::kCPU);
  std::vector<at::Tensor> first, second;
  for (int64_t which = 0; which < kTop; ++which) {
    first.push_back(top.narrow(1, which, 1).expand({rows, keys}));
    second.push_back(all);
  }
  for (int64_t which = 0; which < kShifts; ++which) {
    std::vector<int64_t> shifts(static_cast<size_t>(rows));
    for (int64_t row = 0; row < rows; ++row) {
      shifts[static_cast<size_t>(row)] = shift_of(row, which, keys);
    }
    first.push_back(all);
    second.push_back((all + at::tensor(shifts, at::kLong).unsqueeze(1)).remainder(keys));
  }
  return {at::cat(first, 1).to(teacher.device()), at::cat(second, 1).to(teacher.device())};
}

at::Tensor loss_by_operators(const at::Tensor& student, const at::Tensor& teacher,
                             const RankingOptions& options) {
  const auto [first, second] = pairs_of(teacher);
  const auto deviation = [](const at::Tensor& x) { return x.std(1, false, true); };
  const at::Tensor theta = options.margin * deviation(student.detach()).clamp_min(kLeastDeviation);
  const at::Tensor apart = teacher.gather(1, first) - teacher.gather(1, second);
  const at::Tensor counts = apart.abs().gt(options.tie * deviation(teacher)).to(student.dtype());
  const at::Tensor difference = student.gather(1, first) - student.gather(1, second);
  const at::Tensor hinges = (theta - difference * apart.sign()).clamp_min(0) * counts;
  return hinges.sum() / counts.sum().clamp_min(1);
}

/// Pairs of keys that the teacher tells apart, and how many the student orders alike rather than
/// the other way.
struct Orders {
  double agreed = 0.0;
  double told_apart = 0.0;
};

OUNCE_VECTOR_CLONES void count_orders(const float* student, const float* teacher, int64_t keys,
                                      Orders& orders) {
  const auto order = [](float a, float b) { return (a > b ? 1.0F : 0.0F) - (a < b ? 1.0F : 0.0F); };
  for (int64_t shift = 1; shift < keys; ++shift) {
    const float* s = student + shift;
    const float* t = teacher + shift;
    orders.agreed += sum_of_terms(
        keys - shift, [&](int64_t i) { return order(s[i], student[i]) * order(t[i], teacher[i]); });
    orders.told_apart +=
        sum_of_terms(keys - shift, [&](int64_t i) { return t[i] == teacher[i] ? 0.0F : 1.0F; });
  }
}

at::Tensor rows_of(const at::Tensor& scores) {
  return scores.reshape({-1, scores.size(-1)}).contiguous();
}

}  // namespace

at::Tensor ranking_loss(const at::Tensor& student, const at::Tensor& teacher,
                        const RankingOptions& options) {
  if (student.sizes() != teacher.sizes()) {
    throw Error("scores of student and teacher differ in shape", "ranking-aware distillation",
                "a teacher of the student's architecture");
  }
  if (student.size(-1) < 2) return at::zeros({}, student.options());
  const at::Tensor s = rows_of(student);
  const at::Tensor t = rows_of(teacher.detach());
  if (s.is_cpu() && s.scalar_type() == at::kFloat && t.scalar_type() == at::kFloat) {
    return RankingLoss::apply(s, t, options);
  }
  return loss_by_operators(s, t, options);
}

double order_agreement(const at::Tensor& student, const at::Tensor& teacher) {
  const at::NoGradGuard no_grad;
  const at::Tensor s = rows_of(student.to(at::kCPU, at::kFloat));
  const at::Tensor t = rows_of(teacher.to(at::kCPU, at::kFloat));
  const int64_t keys = t.size(1);
  Orders orders;
  for (int64_t row = 0; row < t.size(0); ++row) {
    count_orders(s.data_ptr<float>() + row * keys, t.data_ptr<float>() + row * keys, keys, orders);
  }
  return orders.told_apart == 0.0 ? 0.0 : orders.agreed / orders.told_apart;
}

double constant_rows(const at::Tensor& map) {
  const at::NoGradGuard no_grad;
  return map.amax(-1).eq(map.amin(-1)).to(at::kDouble).mean().item<double>();
}

}  // namespace ounce::methods
