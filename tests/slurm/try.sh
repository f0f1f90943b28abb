#!/usr/bin/env bash
# scripts/slurm_array.sh and mpirun's programs on a real Slurm: one of its own, on this machine.
#
# usage: tests/slurm/try.sh [NODES]
#
#   1. A sweep in one process, then as arrays of 1, 2, ... tasks on NODES nodes of one processor (2):
#      the merged metrics.csv must be the same, byte for byte. Prints the time of each.
#   2. The same with a task that is killed and one that is requeued; prints what that cost.
#   3. The autoencoder by srun on 2 ranks, against one process, and with a rank killed.
#
# Needs root, a build in build/release (PCXX_BIN names another), and Debian's slurm-wlm and munge.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/slurm/cluster.sh

nodes=${1:-2}
export PCXX_BIN=${PCXX_BIN:-$PWD/build/release/bin} OMP_NUM_THREADS=1 PCXX_PYTHON=/nonexistent
work=$(mktemp -d "${TMPDIR:-/tmp}/pcxx-slurm-XXXXXX")
chmod 755 "$work" # munged insists
sweep=(pcxx-autoencoder --set dataset=digits --set samples=1000 --set test_samples=200
  --set "rule=[bp,pc]" --set "learning_rate=[0.1,0.3,0.5]" --set seeds=4 --set steps=200
  --set test_every=50 --set checkpoint_every=20 --set threads=1)

clean_up() {
  stop_cluster
  rm -rf "$work"
}

now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{printf "%.1f s", $1 - $2}'; }

array() { # TASKS OUT: submits; prints the job's number
  mkdir -p "$work/$2"
  sbatch --parsable --array="0-$(($1 - 1))" --cpus-per-task=1 --mem-per-cpu=500M \
    --output="$work/%A-%a.log" scripts/slurm_array.sh "${sweep[@]}" --out "$work/$2"
}

wait_for() {
  while [[ -n "$(squeue -h -j "$1" 2>/dev/null)" ]]; do sleep 0.1; done
}

merge() { # OUT: must give the sweep's own results
  "$PCXX_BIN/${sweep[0]}" --quiet --merge "$work/$1"
  cmp "$work/whole/metrics.csv" "$work/$1/metrics.csv"
}

running() { # JOB TASK: waits until it has left something
  until [[ "$(squeue -h -t RUNNING -j "$1_$2" -o %T 2>/dev/null)" == RUNNING ]]; do sleep 0.1; done
  until compgen -G "$work/$3/parts/*" >/dev/null; do sleep 0.1; done
  sleep 3
}

mkdir -p "$work/cluster"
trap clean_up EXIT
start_cluster "$work/cluster" "$nodes"

start=$(now)
"$PCXX_BIN/${sweep[0]}" "${sweep[@]:1}" --quiet --out "$work/whole"
echo "one process: $(since "$start")"

for tasks in 1 "$nodes" $((2 * nodes)) $((6 * nodes)); do
  start=$(now)
  id=$(array "$tasks" "tasks$tasks")
  wait_for "$id"
  echo "array of $tasks: $(since "$start")"
  merge "tasks$tasks"
done

start=$(now)
id=$(array "$nodes" requeued)
running "$id" 0 requeued
scontrol requeue "${id}_0"
wait_for "$id"
echo "array of $nodes, a task requeued after 3 s (Slurm holds it back for 15 s): $(since "$start")"
merge requeued

start=$(now)
id=$(array "$nodes" killed)
running "$id" 1 killed
scancel --signal=KILL "${id}_1"
wait_for "$id"
if "$PCXX_BIN/${sweep[0]}" --quiet --merge "$work/killed" 2>"$work/gaps"; then
  echo "the merge did not notice that jobs are missing" >&2
  exit 1
fi
cat "$work/gaps"
id=$(array 1 killed)
wait_for "$id"
echo "array of $nodes, a task killed after 3 s, and one more for what was left: $(since "$start")"
merge killed

train=(pcxx-autoencoder --quiet --set dataset=digits --set samples=400 --set test_samples=100
  --set rule=bp --set rescaling=projection --set learning_rate=0.5 --set seeds=1 --set dtype=float64
  --set test_every=50)
"$PCXX_BIN/${train[0]}" "${train[@]:1}" --out "$work/alone"
start=$(now)
srun -n 2 "$PCXX_BIN/${train[0]}" "${train[@]:1}" --out "$work/two"
echo "autoencoder on 2 ranks of srun: $(since "$start")"
paste -d, "$work/alone/metrics.csv" "$work/two/metrics.csv" | awk -F, '
  NR == 1 { columns = NF / 2; for (i = 1; i <= columns; ++i) if ($i == "value") value = i; next }
  { d = $value - $(value + columns); if (d < 0) d = -d; if (d > worst) worst = d }
  END { print "largest difference from one process: " worst; exit worst > 1e-10 }'

start=$(now)
srun --kill-on-bad-exit=1 -n 2 "$PCXX_BIN/${train[0]}" "${train[@]:1}" --set steps=100000 \
  --set checkpoint_every=50 --out "$work/lost" 2>"$work/lost.log" &
srun_id=$!
until [[ -e "$work/lost/parts/job0.checkpoint.safetensors" ]]; do sleep 0.1; done
victim=$(pgrep -n -f "$work/lost")
start=$(now)
kill -KILL "$victim"
code=0
wait "$srun_id" || code=$?
echo "a rank killed: all ended with code $code after $(since "$start")"
grep pcxx-autoencoder: "$work/lost.log" || true
echo "done"
