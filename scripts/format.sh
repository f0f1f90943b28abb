#!/usr/bin/env bash
# Lays out all C++ files as .clang-format says.
#
# usage: scripts/format.sh [--check]
#   --check  change nothing; name the files that would change, and end with 1
#
# Takes clang-format of .venv, otherwise of PATH. Versions differ in details: this project uses 23
# (.venv/bin/pip install clang-format==23.1.5).

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

action=(-i)
case "${1:-}" in
  "") ;;
  -h | --help) usage; exit 0 ;;
  --check) action=(--dry-run -Werror) ;;
  *) fail "unknown option '$1' (see scripts/format.sh --help)" ;;
esac
PATH="$PWD/.venv/bin:$PATH"
command -v clang-format >/dev/null || fail "clang-format is missing: .venv/bin/pip install clang-format==23.1.5"
git ls-files -z '*.cpp' '*.h' | xargs -0 clang-format "${action[@]}"
