#include <malloc.h>

#include <climits>

#include "cli/program.h"
#include "cli_train/train.h"

namespace {

/// A step of training asks for the same blocks of many megabytes again and again. By default each
/// would be mapped, cleared page by page by the kernel, and given back: a fifth of the time.
void keep_freed_memory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_ARENA_MAX, 1);
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  return ounce::cli::run_program(argc, argv, ounce::cli::add_training);
}
