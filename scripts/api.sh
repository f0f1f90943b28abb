#!/usr/bin/env bash
# The reference of the public headers, build/api/html/index.html, by Doxygen. Warnings are errors.
#
# usage: scripts/api.sh
#
# Needs doxygen (its Debian and Ubuntu package has this name).

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac
command -v doxygen >/dev/null || fail "doxygen is missing: apt-get install doxygen"
mkdir -p build/api
doxygen docs/Doxyfile
say "build/api/html/index.html"
