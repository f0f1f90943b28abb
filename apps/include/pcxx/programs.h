#pragma once

#include <pcxx/run/program.h>

/// The programs as values: each has a main of its own, and pcxx-reproduce runs them too.
namespace pcxx::programs {

run::Program activities();
run::Program alignment();
run::Program autoencoder();
run::Program classifier();
run::Program inference();
run::Program regression();
run::Program trajectory();

}  // namespace pcxx::programs
