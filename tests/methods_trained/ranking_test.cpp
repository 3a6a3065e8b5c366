#include "methods/trained/ranking.h"

#include <gtest/gtest.h>

#include "graph/error.h"
#include "tests/methods_trained/small_attention.h"

namespace ounce::methods {
namespace {

using ounce::testing::random;

at::Tensor gradient_of(const at::Tensor& student, const at::Tensor& teacher) {
  const at::Tensor leaf = student.detach().clone().requires_grad_(true);
  ranking_loss(leaf, teacher).backward();
  return leaf.grad();
}

TEST(RankingLoss, IsZeroForTheTeachersOrderAtAMargin) {
  // Steps of at least 0.2 of the deviation: more than the margin.
  const at::Tensor teacher = at::arange(12, at::kFloat).view({1, 12}).repeat({5, 1});
  EXPECT_EQ(ranking_loss(teacher * 7, teacher).item<double>(), 0.0);
  EXPECT_EQ(gradient_of(teacher * 7, teacher).abs().max().item<double>(), 0.0);
  EXPECT_GT(ranking_loss(-teacher, teacher).item<double>(), 0.1);
}

TEST(RankingLoss, OfEqualScoresIsTheMargin) {
  const at::Tensor teacher = random({6, 9}, 1);
  const at::Tensor student = at::full({6, 9}, 3.0);
  // The margin of a row whose deviation counts as 1e-3.
  EXPECT_NEAR(ranking_loss(student, teacher, {.margin = 0.1}).item<double>(), 1e-4, 1e-9);
  EXPECT_GT(gradient_of(student, teacher).abs().max().item<double>(), 0.0);
}

TEST(RankingLoss, LeavesOutPairsThatTheTeacherDoesNotTellApart) {
  const at::Tensor teacher = at::ones({4, 7});
  EXPECT_EQ(gradient_of(random({4, 7}, 2), teacher).abs().max().item<double>(), 0.0);
  // One key stands out: the others are no pairs of each other, and their pushes are equal.
  const at::Tensor one = at::zeros({1, 7});
  one[0][3] = 1;
  const at::Tensor gradient = gradient_of(at::zeros({1, 7}), one)[0];
  EXPECT_LT(gradient[3].item<double>(), 0.0);
  EXPECT_NEAR(gradient.sum().item<double>(), 0.0, 1e-6);
  for (const int64_t key : {0, 1, 2, 4, 5, 6}) EXPECT_GT(gradient[key].item<double>(), 0.0);
}

TEST(RankingLoss, DoesNotSeeWhatIsAddedToARow) {
  const at::Tensor student = random({3, 2, 8, 8}, 3);
  const at::Tensor teacher = random({3, 2, 8, 8}, 4);
  const at::Tensor shifts = random({3, 2, 8, 1}, 5);
  EXPECT_NEAR(ranking_loss(student + shifts, teacher).item<double>(),
              ranking_loss(student, teacher).item<double>(), 1e-6);
}

TEST(RankingLoss, HasTheGradientOfFiniteDifferences) {
  const at::Tensor student = random({3, 9}, 6, at::kDouble);
  const at::Tensor teacher = random({3, 9}, 7, at::kDouble);
  const at::Tensor gradient = gradient_of(student, teacher);
  // The margin is a constant to the gradient: equal shares of ups and downs keep it to first order.
  const double h = 1e-7;
  for (int64_t row = 0; row < 3; ++row) {
    // A direction that leaves the row's deviation: orthogonal to the centred row.
    const at::Tensor centred = student[row] - student[row].mean();
    at::Tensor direction = random({9}, 8 + row, at::kDouble);
    direction = direction - centred * (direction * centred).sum() / centred.square().sum();
    const at::Tensor step = at::zeros_like(student);
    step[row] = direction * h;
    const double slope =
        (ranking_loss(student + step, teacher) - ranking_loss(student - step, teacher))
            .item<double>() /
        (2 * h);
    EXPECT_NEAR((gradient[row] * direction).sum().item<double>(), slope, 1e-6);
  }
}

TEST(RankingLoss, LoopsAndOperatorsAgree) {
  for (const int64_t keys : {2, 3, 17, 66}) {
    const at::Tensor student = random({2, 3, 70, keys}, keys);
    const at::Tensor teacher = random({2, 3, 70, keys}, keys + 1);
    const double loops = ranking_loss(student, teacher).item<double>();
    const double operators =
        ranking_loss(student.to(at::kDouble), teacher.to(at::kDouble)).item<double>();
    EXPECT_NEAR(loops, operators, 1e-6 * operators) << keys;
    const at::Tensor a = gradient_of(student, teacher).to(at::kDouble);
    const at::Tensor b = gradient_of(student.to(at::kDouble), teacher.to(at::kDouble));
    // A pair within rounding of its margin is in one of them and not in the other: 1 of 4 * keys
    // times the rows.
    EXPECT_LE((a - b).abs().gt(1e-3 / static_cast<double>(a.numel())).sum().item<int64_t>(), 4)
        << keys;
  }
}

TEST(RankingLoss, NeedsRowsOfOneShape) {
  EXPECT_THROW(ranking_loss(random({2, 4}, 1), random({2, 5}, 1)), Error);
  EXPECT_EQ(ranking_loss(random({2, 1}, 1), random({2, 1}, 1)).item<double>(), 0.0);
}

TEST(OrderAgreement, IsOneForTheSameOrderAndMinusOneForTheOther) {
  const at::Tensor scores = random({2, 3, 5, 11}, 1);
  EXPECT_DOUBLE_EQ(order_agreement(scores.exp(), scores), 1.0);
  EXPECT_DOUBLE_EQ(order_agreement(-scores, scores), -1.0);
  EXPECT_DOUBLE_EQ(order_agreement(at::zeros_like(scores), scores), 0.0);
  // 3 pairs, of which one is the other way round: (2 - 1) / 3.
  EXPECT_NEAR(order_agreement(at::tensor({1.0, 3.0, 2.0}), at::tensor({1.0, 2.0, 3.0})), 1.0 / 3,
              1e-12);
}

TEST(ConstantRows, AreCounted) {
  const at::Tensor map = at::tensor({1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.0}).view({4, 2});
  EXPECT_DOUBLE_EQ(constant_rows(map), 0.5);
}

}  // namespace
}  // namespace ounce::methods
