#include <pcxx/programs.h>
#include <pcxx/run/program.h>

int main(int argc, char** argv) {
  return pcxx::run::run_program(pcxx::programs::activities(), argc, argv);
}
