#pragma once

#include <Eigen/Core>

#include "graph/tensor.h"

/// Tensors of two axes as matrices of Eigen, for the units of transforms/ that calculate with them.
namespace ounce::quantize {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using DoubleMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A view of an f32 tensor [rows, columns]; the tensor must outlive it.
inline Eigen::Map<const Matrix> matrix_of(const Tensor& tensor) {
  return {tensor.data<float>().data(), tensor.shape()[0], tensor.shape()[1]};
}

inline Tensor tensor_of(const Matrix& matrix) {
  Tensor tensor(DType::f32, {matrix.rows(), matrix.cols()});
  Eigen::Map<Matrix>(tensor.mutable_data<float>().data(), matrix.rows(), matrix.cols()) = matrix;
  return tensor;
}

}  // namespace ounce::quantize
