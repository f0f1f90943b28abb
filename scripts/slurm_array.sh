#!/bin/bash
# A sweep shared out over a Slurm array: every task of the array takes its share of the jobs, all
# write into one folder, and one more step puts them together. Set what your cluster wants below,
# then
#
#   mkdir -p runs/fig4b
#   id=$(sbatch --parsable --array=0-15 scripts/slurm_array.sh \
#            pcxx-regression --config configs/fig4b_regression_1.toml --out runs/fig4b)
#   sbatch --dependency=afterany:$id --wrap "build/release/bin/pcxx-regression --merge runs/fig4b"
#
# The merge names every job that is missing. Where tasks were killed, submit the same array again, of
# any size: jobs that are finished are skipped. PCXX_BIN names another folder with the programs.

#SBATCH --job-name=pcxx
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=1G
#SBATCH --time=01:00:00
#SBATCH --output=runs/%x-%A-%a.log

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
program=$1
shift

# The program reads its share from SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, and threads from
# the processors that Slurm gave the task.
exec "${PCXX_BIN:-build/release/bin}/$program" "$@" --quiet
