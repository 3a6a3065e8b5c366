#include "cli/program.h"
#include "cli_train/train.h"

int main(int argc, char** argv) {
  return ounce::cli::run_program(argc, argv, ounce::cli::add_training);
}
