#include <pcxx/programs.h>

#include "lab.h"

int main(int argc, char** argv) {
  add_everything();
  auto program = pcxx::programs::regression();
  program.name = "lab-regression";
  return pcxx::run::run_program(program, argc, argv);
}
