#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy.
#
# usage: scripts/tidy.sh [--all | FILE...]
#
# Without arguments: the .cpp files that differ from the branch main, committed or not. Ends with 1
# on any finding. Needs clang-tidy (its Debian and Ubuntu package has this name). JOBS is the number
# of files at a time.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

changed_files() {
  { git diff --name-only --diff-filter=d "$(git merge-base main HEAD)"
    git ls-files --others --exclude-standard
  } | sort -u | grep -E '^(lib|apps|tests|benchmarks)/.*\.cpp$' || true
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  --all) mapfile -t files < <(git ls-files 'lib/*.cpp' 'apps/*.cpp' 'tests/*.cpp') ;;
  "") mapfile -t files < <(changed_files) ;;
  *) files=("$@") ;;
esac
command -v clang-tidy >/dev/null || fail "clang-tidy is missing: apt-get install clang-tidy"
if ((${#files[@]} == 0)); then
  say "no .cpp file differs from main"
  exit 0
fi

cmake --preset tidy >/dev/null
say "clang-tidy on ${#files[@]} files"
printf '%s\0' "${files[@]}" \
  | xargs -0 -n 1 -P "${JOBS:-$(build_jobs)}" clang-tidy -p build/tidy --quiet --warnings-as-errors='*'
