#!/usr/bin/env bash
# Sets the final times, owners and modes of directories: sbatch slurm/mtimes_pass.sh [OPTIONS OF pmirror mtimes]
# SRC, DST and the rest come from settings.sh or from the environment: see README.md beside this file.
#
#SBATCH --job-name=pmirror-mtimes
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --output=pmirror-mtimes-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=USR1@120
set -euo pipefail

# sbatch runs a copy of this file from its spool directory: what the passes share lies beside the original.
original=$(squeue -h -j "${SLURM_JOB_ID:-0}" -o %o 2>/dev/null || true)
for directory in "${PMIRROR_SLURM_DIR:-.}" "${SLURM_SUBMIT_DIR:-.}"{,/slurm} "$(dirname "$0")" \
    "${original%%/mtimes_pass.sh*}"; do
    [[ ! -r $directory/pass.bash ]] || break
done
# shellcheck source=slurm/pass.bash
source "$directory/pass.bash"
run_pass mtimes "$@"
