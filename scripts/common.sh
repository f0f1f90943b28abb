# What the scripts of this folder share; sourced, never run. Moves to the top of the repository.

set -euo pipefail

# A relative data folder is relative to where the caller stands.
if [[ -n "${PCXX_DATA_DIR:-}" && "$PCXX_DATA_DIR" != /* ]]; then
  export PCXX_DATA_DIR="$PWD/$PCXX_DATA_DIR"
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '== %s\n' "$*"; }

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 2
}

# The comment block at the top of a script is its help.
usage() { sed -n '2,/^$/{s/^# \{0,1\}//;p}' "scripts/$(basename "$0")"; }

# The first Python that can draw the figures.
figure_python() {
  local python
  for python in .venv/bin/python python3; do
    if "$python" -c 'import numpy, matplotlib' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  return 1
}

# At most one compiler per core, and per 2 GB of memory: LibTorch's headers are large.
build_jobs() {
  local cores memory
  cores=$(nproc 2>/dev/null || echo 2)
  memory=$(awk '/^MemTotal/ { print int($2 / 2000000) }' /proc/meminfo 2>/dev/null || echo "$cores")
  ((memory >= 1)) || memory=1
  echo $((cores < memory ? cores : memory))
}
