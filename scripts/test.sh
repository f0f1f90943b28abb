#!/usr/bin/env bash
# Sets up what is missing, builds in Release and runs every test.
#
# usage: scripts/test.sh [options of ctest]      for example: scripts/test.sh -R inference
#
# Tests on MNIST run when PCXX_DATA_DIR names a folder that has mnist/ (data/get_data makes one).

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [[ "${1:-}" == --help || "${1:-}" == -h ]]; then
  usage
  exit 0
fi

scripts/setup.sh --tests
say "configuring build/release"
cmake --preset release -DPCXX_UNITY=ON
say "building with $(build_jobs) jobs"
cmake --build --preset release --parallel "$(build_jobs)"
say "running the tests (data: ${PCXX_DATA_DIR:-none})"
ctest --preset release --parallel "$(build_jobs)" "$@"
