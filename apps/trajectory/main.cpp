#include <pcxx/train/program.h>

#include "programs.h"

int main(int argc, char** argv) {
  return pcxx::train::run_program(pcxx::programs::trajectory(), argc, argv);
}
