# shellcheck shell=bash disable=SC2034  # read by copy_pass.sh
#
# Settings of slurm/copy_pass.sh; slurm/README.md tells how they are found. A value of the environment wins:
#     SRC=/old/home DST=/new/home sbatch slurm/copy_pass.sh

# The two trees. What is in SRC is copied into DST: SRC/a becomes DST/a. A slash at the end means nothing.
SRC=
DST=

# The program: a name on PATH (MODULES are loaded first), or a path. Every node must find it there.
PMIRROR=pmirror

# Modules to load before anything else, with blanks between: MODULES="openmpi/4.1 pmirror"
MODULES=

# Threads of each rank that copy. Empty: the CPUs of a task (#SBATCH --cpus-per-task).
THREADS=

# Where the summary and the list of faults go: STATE_DIR/copy-JOBID/. All nodes must see it, and it lies in neither tree.
# Empty: pmirror-runs/ in the directory that the job was submitted from.
STATE_DIR=

# 1 while people still work in SRC: files that vanish or change during the copy then do not fail the job.
LIVE=0

# What srun shall use to start MPI: `srun --mpi=list` shows what the cluster has.
MPI_TYPE=pmix

# Further options, an array entry for each word; those behind `sbatch slurm/copy_pass.sh` come after these.
OPTIONS=(
    # --one-file-system
    # --no-specials
)

# Further options of srun.
SRUN_OPTIONS=(
    # --cpu-bind=cores
)
