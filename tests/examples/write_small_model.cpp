// Writes the model that the example program is tested on.
#include "tests/capi/models.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  ounce::formats::write_ounce(ounce::testing::small_model(), argv[1]);
  return 0;
}
