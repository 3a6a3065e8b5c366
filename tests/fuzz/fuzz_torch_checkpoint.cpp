#include <cstdint>

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ounce::fuzz::torch_checkpoint(std::as_bytes(std::span(data, size)));
  return 0;
}
