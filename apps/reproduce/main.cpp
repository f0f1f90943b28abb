#include "reproduce/reproduce.h"

int main(int argc, char** argv) {
  return pcxx::reproduce::run(argc, argv);
}
