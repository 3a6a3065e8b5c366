#include "quantize/transforms/orthogonal.h"

#include <gtest/gtest.h>

namespace ounce::quantize {
namespace {

double off_identity(const DoubleMatrix& q) {
  const DoubleMatrix product = q * q.transpose();
  return (product - DoubleMatrix::Identity(q.rows(), q.rows())).cwiseAbs().maxCoeff();
}

TEST(Hadamard, entries_are_signs_and_rows_are_orthogonal) {
  // 12 and 20 by Paley's first construction, 28 and 36 by his second, the others by doubling.
  for (const int64_t order : {1, 2, 4, 8, 12, 20, 24, 28, 36, 56, 64, 192, 768}) {
    const auto matrix = hadamard(order);
    ASSERT_TRUE(matrix.has_value()) << order;
    EXPECT_EQ(matrix->cwiseAbs().minCoeff(), 1.0) << order;
    EXPECT_EQ(matrix->cwiseAbs().maxCoeff(), 1.0) << order;
    const DoubleMatrix scaled = *matrix / std::sqrt(static_cast<double>(order));
    EXPECT_LT(off_identity(scaled), 1e-12) << order;
  }
}

TEST(Hadamard, has_no_matrix_of_other_orders) {
  for (const int64_t order : {0, 3, 6, 10, 22, 30}) EXPECT_FALSE(hadamard(order)) << order;
}

TEST(Rotation, is_orthogonal_for_every_width) {
  for (const int64_t width : {1, 2, 3, 6, 10, 12, 49, 96, 100, 192, 384}) {
    EXPECT_LT(off_identity(random_rotation(width, 1)), 1e-12) << width;
    EXPECT_LT(off_identity(mean_preserving_rotation(width, 1)), 1e-12) << width;
  }
}

TEST(Rotation, keeps_the_mean_where_asked_to) {
  for (const int64_t width : {1, 2, 3, 12, 100, 192}) {
    const DoubleMatrix q = mean_preserving_rotation(width, 5);
    const Eigen::VectorXd ones = Eigen::VectorXd::Ones(width);
    EXPECT_LT((q * ones - ones).cwiseAbs().maxCoeff(), 1e-12) << width;
    EXPECT_LT((q.transpose() * ones - ones).cwiseAbs().maxCoeff(), 1e-12) << width;
  }
}

TEST(Rotation, spreads_one_channel_over_all) {
  for (const int64_t width : {192, 384, 320}) {
    const DoubleMatrix q = mean_preserving_rotation(width, 1);
    // Even shares would be 1 / sqrt(width).
    EXPECT_LT(q.cwiseAbs().maxCoeff() * std::sqrt(static_cast<double>(width)), 2.5) << width;
  }
}

TEST(Rotation, the_seed_decides_the_signs) {
  EXPECT_EQ(random_rotation(24, 3), random_rotation(24, 3));
  EXPECT_NE(random_rotation(24, 3), random_rotation(24, 4));
}

}  // namespace
}  // namespace ounce::quantize
