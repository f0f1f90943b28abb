#!/usr/bin/env bash
# Builds the tests with the address and undefined-behaviour sanitizers and runs them.
#
# usage: scripts/sanitize.sh [PACKAGE]...        for example: scripts/sanitize.sh inference optim
#
# Without a package: core nn data inference learning optim metrics ensemble, which are the
# mathematics. The others (train, integration, reproduce) work as well and take long. Leaks of
# LibTorch itself are left out by tests/support/leaks.txt. JOBS is the number of compilers.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac
packages=("$@")
((${#packages[@]})) || packages=(core nn data inference learning optim metrics ensemble)

export ASAN_OPTIONS=detect_leaks=1
export LSAN_OPTIONS="suppressions=$PWD/tests/support/leaks.txt:print_suppressions=0"
export UBSAN_OPTIONS=print_stacktrace=1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

cmake --preset asan -DPCXX_UNITY=ON >/dev/null
cmake --build --preset asan --parallel "${JOBS:-$(build_jobs)}" --target "${packages[@]/%/_test}"
failed=()
for package in "${packages[@]}"; do
  say "${package}_test"
  "build/asan/bin/${package}_test" --gtest_brief=1 || failed+=("$package")
done
((${#failed[@]} == 0)) || fail "the sanitizers or tests complain in: ${failed[*]}"
say "no complaint in: ${packages[*]}"
