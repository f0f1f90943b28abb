#!/usr/bin/env bash
# What a change has to pass beside the tests: layout, clang-tidy, Python, defects, documents.
#
# usage: scripts/check.sh [--fast] [BASE]
#   BASE    the commit that the change is measured from; main otherwise
#   --fast  neither clang-tidy nor defects, which compile for minutes
#
# Layout and Python are checked everywhere; clang-tidy takes the sources that differ from BASE, and
# defects.py the defects in files that do. What is not installed is named and left out.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

fast=false
base=main
for word in "$@"; do
  case "$word" in
    -h | --help) usage; exit 0 ;;
    --fast) fast=true ;;
    -*) fail "unknown option '$word' (see scripts/check.sh --help)" ;;
    *) base=$word ;;
  esac
done
git rev-parse --quiet --verify "$base^{commit}" >/dev/null || fail "there is no commit '$base'"
PATH="$PWD/.venv/bin:$PATH"

have() {
  command -v "$1" >/dev/null || { say "left out: $1 is missing ($2)"; return 1; }
}

changed_sources() {
  git diff --name-only --diff-filter=d "$base" -- 'lib/*.cpp' 'apps/*.cpp' 'tests/*.cpp' 'benchmarks/*.cpp'
}

if have clang-format ".venv/bin/pip install clang-format==23.1.5"; then
  say "layout of C++ files"
  scripts/format.sh --check
fi
if have ruff ".venv/bin/pip install ruff"; then
  say "Python files"
  ruff check --quiet .
fi
say "defects fit their files"
python3 scripts/defects.py --check
if [[ -x build/release/bin/integration_test ]]; then
  say "documents: links, commands, blocks of code"
  PCXX_PYTHON=$(command -v python3) build/release/bin/integration_test --gtest_filter='Documents*' --gtest_brief=1
else
  say "left out: the documents' test is not built (scripts/test.sh builds it)"
fi
$fast && exit 0
mapfile -t sources < <(changed_sources)
if ((${#sources[@]} > 0)) && have clang-tidy "apt-get install clang-tidy"; then
  scripts/tidy.sh "${sources[@]}"
fi
say "defects in files that differ from $base"
python3 scripts/defects.py --changed "$base"
