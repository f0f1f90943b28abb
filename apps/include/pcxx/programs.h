#pragma once

#include <pcxx/train/program.h>

/// The programs as values: each has a main of its own, and pcxx-reproduce runs them too.
namespace pcxx::programs {

train::Program alignment();
train::Program autoencoder();
train::Program classifier();
train::Program inference();
train::Program regression();
train::Program trajectory();

}  // namespace pcxx::programs
