# shellcheck shell=bash disable=SC2034  # read by pass.bash
#
# Settings of the scripts in slurm/; slurm/README.md tells how they are found. A value of the environment wins:
#     SRC=/old/home DST=/new/home sbatch slurm/copy_pass.sh

# The two trees, mounted on every node of the job. What is in SRC is copied into DST: SRC/a becomes DST/a. A slash at
# the end means nothing.
SRC=
DST=

# The program: a name on PATH (MODULES are loaded first), or a path. Every node must find it there.
PMIRROR=pmirror

# Modules to load before anything else, with blanks between: MODULES="openmpi/4.1 pmirror"
MODULES=

# Threads of each rank that copy. Empty: the CPUs of a task (#SBATCH --cpus-per-task).
THREADS=

# Where summaries and lists of faults go: STATE_DIR/copy-JOBID/. All nodes must see it, and it lies in neither tree.
# Empty: pmirror-runs/ in the directory that the job was submitted from. Leave it as it is from the first copy to the
# end: what earlier runs knew of both trees lies there too.
STATE_DIR=

# 1 while people still work in SRC: files that vanish or change meanwhile then do not fail the job.
LIVE=0

# What srun shall use to start MPI: `srun --mpi=list` shows what the cluster has.
MPI_TYPE=pmix

# How often the job's comment tells how far it is (squeue -o '%i %j %k'). 0: never.
COMMENT_SECONDS=30

# 1: a job whose time was up, or of which a rank or a node died, goes back into the queue and goes on from its checkpoint,
# as long as it gets on: at most so often. 0: you submit it again.
REQUEUE=1
REQUEUES_MAX=100

# Further options of each command, an array entry for each word; those behind `sbatch slurm/copy_pass.sh` come after
# these. What is left out of the copy (--exclude, -x) must be left out of the others too.
COPY_OPTIONS=(
    # --one-file-system
    # --no-specials
)
RM_OPTIONS=(
    # --one-file-system
)
MTIMES_OPTIONS=(
)
CMP_OPTIONS=(
    # --one-file-system
)

# What holds deletions back, for rm_pass.sh, and for the copy of final_passes.sh that deletes. Never from the
# environment. The defaults of pmirror: nothing is removed if more than a tenth of DST would go.
GUARDS=(
    # --max-delete 10%
    # --hold-threshold 50%
)

# Further options of srun.
SRUN_OPTIONS=(
    # --cpu-bind=cores
)

# final_passes.sh: 1 copies and deletes in one walk instead of two jobs.
ONE_WALK=0

# final_passes.sh: who gets mail when a job of the chain ends or fails. (A job that you submit yourself takes
# `sbatch --mail-user=... --mail-type=END,FAIL`.)
MAIL_TO=

# final_passes.sh: further options of sbatch for each job.
SBATCH_OPTIONS=(
    # --partition=transfer
    # --nodes=8
)
