#!/usr/bin/env bash
# The reference of the public headers, build/api/html/index.html, by Doxygen. Its warnings are errors, and
# so is a class, structure or enumeration without a comment; functions whose names say all need none.
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
find lib/include apps/include -name '*.h' -print0 | sort -z | xargs -0 awk '
  FNR == 1 { comment = 0 }
  /^\/\/\// { comment = 1; next }
  /^template/ { next }
  /^(class|struct|enum class) [A-Za-z]+/ && !/^(class|struct) [A-Za-z]+;/ && !comment {
    print FILENAME ":" FNR ": no comment above: " $0
    bare = 1
  }
  { comment = 0 }
  END { exit bare }' || fail "a type of the public headers has no comment"
say "build/api/html/index.html"
