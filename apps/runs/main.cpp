#include "runs/runs.h"

int main(int argc, char** argv) {
  return pcxx::runs::run(argc, argv);
}
