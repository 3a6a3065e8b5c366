#pragma once

namespace ounce::tasks {

/// Keys' cubic with a = -1/2, which is 0 beyond 2.
double cubic_kernel(double x);

}  // namespace ounce::tasks
