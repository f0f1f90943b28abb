#include <pcxx/programs.h>
#include <pcxx/train/program.h>

int main(int argc, char** argv) {
  return pcxx::train::run_program(pcxx::programs::alignment(), argc, argv);
}
