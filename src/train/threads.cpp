#include "train/threads.h"

#include <ATen/Parallel.h>

// Of OpenBLAS; another BLAS has none.
extern "C" __attribute__((weak)) void openblas_set_num_threads(int threads);

namespace ounce::train {

void set_threads(int threads) {
  at::set_num_threads(threads);
  if (openblas_set_num_threads != nullptr) openblas_set_num_threads(threads);
}

}  // namespace ounce::train
