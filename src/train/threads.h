#pragma once

namespace ounce::train {

/// Threads that libtorch and the BLAS below it compute with, from now on. Libtorch alone leaves
/// OpenBLAS at one a core, whatever it is told.
void set_threads(int threads);

}  // namespace ounce::train
