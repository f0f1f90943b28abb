#!/usr/bin/env bash
# From a bare machine to the paper's figure 4 in a quick profile: sets up what is missing, builds the
# programs in Release, runs four short experiments and draws them.
#
# usage: scripts/quickstart.sh [--help]
#
# Results: runs/quickstart/ (one folder an experiment, with metrics.csv) and, where Python has
# matplotlib, runs/quickstart/figure4.png. The autoencoder learns MNIST when PCXX_DATA_DIR names a
# folder that has mnist/ (data/get_data makes one), and drawn digits where it is not set.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

out=runs/quickstart
bin=build/release/bin

case "${1:-}" in
  "") ;;
  -h | --help) usage; exit 0 ;;
  *) fail "unknown option '$1' (see scripts/quickstart.sh --help)" ;;
esac

experiment() {
  local program=$1 config=$2 folder=$3
  say "$program: configs/quick/$config.toml -> $folder"
  "$bin/$program" --config "configs/quick/$config.toml" --out "$folder"
}

draw() {
  local command=(plots/figure4.py "$out"/4a "$out"/4b "$out"/4c "$out"/4d --out "$out/figure4.png")
  local python
  if python=$(figure_python); then
    say "drawing $out/figure4.png"
    "$python" "${command[@]}"
    say "done in $SECONDS s: the figure is $out/figure4.png, the numbers are $out/*/metrics.csv"
  else
    say "the numbers are $out/*/metrics.csv; to draw them with numpy and matplotlib:"
    echo "python3 ${command[*]}"
  fi
}

scripts/setup.sh
say "building the programs in build/release with $(build_jobs) jobs"
cmake --preset release -DPCXX_UNITY=ON
cmake --build --preset release --parallel "$(build_jobs)" \
  --target pcxx-{activities,alignment,autoencoder,classifier,inference,regression,reproduce,runs,trajectory}

if [[ -n "${PCXX_DATA_DIR:-}" ]]; then
  say "data: MNIST of PCXX_DATA_DIR=$PCXX_DATA_DIR"
else
  say "data: drawn digits; for MNIST run data/get_data mnist and set PCXX_DATA_DIR=$PWD/data"
fi

SECONDS=0
experiment pcxx-alignment fig4a_alignment "$out/4a"
experiment pcxx-regression fig4b_regression_1 "$out/4b"
experiment pcxx-regression fig4c_regression_8 "$out/4c"
experiment pcxx-autoencoder fig4d_autoencoder "$out/4d"
draw
