#include "methods/trained/similarity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/methods_trained/small_attention.h"

namespace ounce::methods {
namespace {

using ounce::testing::random;

TEST(SimilarityDistance, IsTheFrobeniusNormOfNormalisedSimilarities) {
  // Orthogonal tokens against equal ones: rows (1, 0) and (r, r), r = 1 / sqrt(2).
  const at::Tensor orthogonal = at::eye(2).mul(3).view({1, 1, 2, 2});
  const at::Tensor equal = at::ones({1, 1, 2, 2});
  const double r = 1 / std::sqrt(2.0);
  const double expected = std::sqrt(2 * ((1 - r) * (1 - r) + r * r));
  EXPECT_NEAR(similarity_distance(orthogonal, equal).item<double>(), expected, 1e-6);
  // Heads are summed, pictures averaged.
  const at::Tensor heads = orthogonal.expand({5, 3, 2, 2});
  EXPECT_NEAR(similarity_distance(heads, equal.expand({5, 3, 2, 2})).item<double>(), 3 * expected,
              1e-5);
}

TEST(SimilarityDistance, DoesNotSeeScales) {
  const at::Tensor student = random({2, 3, 6, 4}, 1, at::kDouble);
  const at::Tensor teacher = random({2, 3, 6, 4}, 2, at::kDouble);
  EXPECT_NEAR(similarity_distance(student * 3.7, teacher * 0.2).item<double>(),
              similarity_distance(student, teacher).item<double>(), 1e-12);
  EXPECT_LT(similarity_distance(teacher * 4.2, teacher).item<double>(), 1e-13);
}

TEST(SimilarityDistance, HasAFiniteGradientAtZero) {
  const at::Tensor teacher = random({2, 3, 6, 4}, 2);
  for (const double scale : {1.0, 0.3, 0.0}) {
    const at::Tensor student = (teacher * scale).detach().requires_grad_(true);
    similarity_distance(student, teacher).backward();
    EXPECT_TRUE(student.grad().isfinite().all().item<bool>()) << scale;
  }
}

TEST(SimilarityDistance, HasTheGradientOfFiniteDifferences) {
  const at::Tensor teacher = random({1, 2, 3, 4}, 5, at::kDouble);
  const at::Tensor student = random({1, 2, 3, 4}, 6, at::kDouble).requires_grad_(true);
  similarity_distance(student, teacher).backward();
  const at::NoGradGuard no_grad;
  const double h = 1e-6;
  for (int64_t i = 0; i < student.numel(); ++i) {
    const at::Tensor step = at::zeros_like(student);
    step.view(-1)[i] = h;
    const double slope = (similarity_distance(student + step, teacher) -
                          similarity_distance(student - step, teacher))
                             .item<double>() /
                         (2 * h);
    EXPECT_NEAR(student.grad().view(-1)[i].item<double>(), slope, 1e-7);
  }
}

TEST(SimilarityDistance, OfFloatsIsThatOfDoublesAndSoIsItsGradient) {
  // Tokens by heads, as views of the queries of a layer are; 3 is no multiple of a register.
  for (const int64_t tokens : {3, 17, 66}) {
    const at::Tensor exact_teacher = random({2, tokens, 3, 5}, 7, at::kDouble).transpose(1, 2);
    const at::Tensor exact = random({2, tokens, 3, 5}, 8, at::kDouble).transpose(1, 2).detach();
    const at::Tensor student = exact.to(at::kFloat).requires_grad_(true);
    exact.requires_grad_(true);
    const at::Tensor value = similarity_distance(student, exact_teacher.to(at::kFloat));
    const at::Tensor wanted = similarity_distance(exact, exact_teacher);
    EXPECT_NEAR(value.item<double>(), wanted.item<double>(), 1e-5 * wanted.item<double>());
    (value * 0.5).backward();
    (wanted * 0.5).backward();
    EXPECT_TRUE(at::allclose(student.grad().to(at::kDouble), exact.grad(), 1e-4, 1e-6)) << tokens;
  }
}

TEST(SimilarityDistance, ATokenOfZerosHasNoDirection) {
  const at::Tensor student = at::zeros({1, 1, 4, 3}).requires_grad_(true);
  const at::Tensor teacher = random({1, 1, 4, 3}, 9);
  similarity_distance(student, teacher).backward();
  EXPECT_TRUE(student.grad().isfinite().all().item<bool>());
}

}  // namespace
}  // namespace ounce::methods
