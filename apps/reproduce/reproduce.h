#pragma once

/// Runs the paper's experiments, draws its figures and judges its claims. Exit codes as of the
/// other programs (run/program.h).
namespace pcxx::reproduce {

int run(int argc, const char* const* argv);

}  // namespace pcxx::reproduce
