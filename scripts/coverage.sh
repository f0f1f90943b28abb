#!/usr/bin/env bash
# Which lines of the library run in its tests: builds with counters, runs the tests, and prints the
# lines covered of each package.
#
# usage: scripts/coverage.sh [options of ctest]  for example: scripts/coverage.sh -R 'nn|optim'
#
# Needs gcovr (its Debian and Ubuntu package has this name). build/coverage/lines/index.html shows
# every line. JOBS is the number of compilers.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac
command -v gcovr >/dev/null || fail "gcovr is missing: apt-get install gcovr"

cmake --preset coverage -DPCXX_UNITY=ON >/dev/null
targets=()
for test in core nn data inference learning optim metrics ensemble parallel config io catalog run train extend integration reproduce; do
  targets+=("${test}_test")
done
cmake --build --preset coverage --parallel "${JOBS:-$(build_jobs)}" --target "${targets[@]}"
find build/coverage -name '*.gcda' -delete
# Left out: tests that only compile, and those of the installed package, which does not link with counters.
left_out='readme_example|headers_alone|api_reference|defects_fit|installed'
ctest --preset coverage --exclude-regex "$left_out" "$@" || say "tests failed; the lines are counted all the same"

mkdir -p build/coverage/lines
gcovr --root . --object-directory build/coverage --filter 'lib/' --filter 'apps/' \
  --gcov-ignore-parse-errors --json-summary build/coverage/lines/summary.json \
  --html-details build/coverage/lines/index.html >/dev/null
python3 - <<'PYTHON'
import collections, json
lines = collections.Counter()
run = collections.Counter()
for file in json.load(open("build/coverage/lines/summary.json"))["files"]:
    parts = file["filename"].split("/")
    package = parts[2] if parts[1] == "src" else parts[3] if parts[1] == "include" else "/".join(parts[:2])
    lines[package] += file["line_total"]
    run[package] += file["line_covered"]
print(f"{'package':20}{'lines':>8}{'covered':>9}")
for package in sorted(lines) + ["all"]:
    total = lines[package] if package != "all" else sum(lines.values())
    covered = run[package] if package != "all" else sum(run.values())
    print(f"{package:20}{total:8}{100 * covered / max(total, 1):8.1f}%")
PYTHON
