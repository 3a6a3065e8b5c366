#include "cli/program.h"

int main(int argc, char** argv) {
  return ounce::cli::run_program(argc, argv);
}
