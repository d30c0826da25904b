#!/usr/bin/env bash
# Copies SRC to DST with all ranks of one batch job: sbatch slurm/copy_pass.sh [OPTIONS OF pmirror sync]
# SRC, DST and the rest come from settings.sh or from the environment: see README.md beside this file.
#
#SBATCH --job-name=pmirror-copy
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --output=pmirror-copy-%j.log
#SBATCH --open-mode=append
#SBATCH --no-requeue
set -euo pipefail

# The settings that the environment can give. OPTIONS and SRUN_OPTIONS are arrays, which it cannot hold.
readonly names=(SRC DST PMIRROR MODULES THREADS STATE_DIR LIVE MPI_TYPE)
readonly exit_usage=1 exit_changed=24

main() {
    local code=0 command
    [[ -n ${SLURM_JOB_ID:-} ]] || fail "not inside a Slurm job; run: sbatch ${BASH_SOURCE[0]}"
    read_settings
    load_modules
    check_settings
    # srun of Slurm 22.05 and newer does not take this from the job by itself.
    [[ -z ${SLURM_CPUS_PER_TASK:-} ]] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
    command=(
        srun --mpi="$MPI_TYPE" --kill-on-bad-exit=1 --wait=60 --export=ALL "${SRUN_OPTIONS[@]}"
        "$PMIRROR" sync --run-id "copy-$SLURM_JOB_ID" --threads "$THREADS"
        ${STATE_DIR:+--state-dir "$STATE_DIR"} "${OPTIONS[@]}" "$@" -- "$SRC" "$DST"
    )
    print_header "${command[@]}"
    # At the time limit, and when the job is cancelled, Slurm sends SIGTERM to this shell too. It waits for srun, and
    # writes the last line.
    trap : TERM
    "${command[@]}" || code=$?
    finish "$code"
}

fail() {
    printf 'copy_pass.sh: %s\n' "$1" >&2
    exit "$exit_usage"
}

# Sets all of `names`, OPTIONS and SRUN_OPTIONS, `settings` (the file) and `given` (the names from the environment).
read_settings() {
    local name
    local -A environment=()
    for name in "${names[@]}"; do
        [[ ! -v $name ]] || environment[$name]=${!name}
    done
    SRC='' DST='' PMIRROR=pmirror MODULES='' THREADS='' STATE_DIR='' LIVE=0 MPI_TYPE=pmix
    unset OPTIONS SRUN_OPTIONS
    OPTIONS=() SRUN_OPTIONS=() given=()

    settings=$(find_settings)
    if [[ -n $settings ]]; then
        trap 'fail "an error in $settings"' EXIT
        # shellcheck source=slurm/settings.sh
        source "$settings"
        trap - EXIT
    fi
    for name in "${names[@]}"; do
        [[ -v environment[$name] ]] || continue
        printf -v "$name" '%s' "${environment[$name]}"
        given+=("$name")
    done
    THREADS=${THREADS:-${SLURM_CPUS_PER_TASK:-1}}
}

# sbatch runs a copy of this file from its spool directory, so the settings are looked for where the job was submitted.
find_settings() {
    local file
    if [[ -n ${PMIRROR_SETTINGS:-} ]]; then
        [[ -r $PMIRROR_SETTINGS ]] || fail "cannot read PMIRROR_SETTINGS: $PMIRROR_SETTINGS"
        echo "$PMIRROR_SETTINGS"
        return
    fi
    for file in "${SLURM_SUBMIT_DIR:-.}"/{,slurm/}settings.sh; do
        [[ ! -r $file ]] || { echo "$file" && return; }
    done
}

load_modules() {
    local file words
    [[ -n $MODULES ]] || return 0
    set +eu # the scripts of others
    for file in /etc/profile.d/{modules,lmod,z00_lmod}.sh; do
        # shellcheck source=/dev/null
        [[ ! -r $file ]] || type module &>/dev/null || source "$file"
    done
    type module &>/dev/null || fail "MODULES is '$MODULES', but there is no module command on $(hostname)"
    read -ra words <<<"$MODULES"
    module load "${words[@]}" || fail "cannot load the modules '$MODULES'"
    set -eu
}

check_settings() {
    local name found
    for name in SRC DST; do
        [[ -n ${!name} ]] ||
            fail "$name is not set, neither in the environment nor in ${settings:-settings.sh, which is not in $SLURM_SUBMIT_DIR}"
    done
    [[ $LIVE == [01] ]] || fail "LIVE is '$LIVE', but must be 0 or 1"
    [[ $THREADS =~ ^[1-9][0-9]*$ ]] || fail "THREADS is '$THREADS', but must be a number above 0"
    found=$(type -P -- "$PMIRROR") ||
        fail "'$PMIRROR' is not an executable program on $(hostname); set PMIRROR or MODULES"
    PMIRROR=$found
}

print_header() {
    echo "pmirror copy, job $SLURM_JOB_ID, $(date '+%F %T %Z')"
    echo "  nodes     $SLURM_JOB_NUM_NODES: $SLURM_JOB_NODELIST"
    echo "  tasks     ${SLURM_NTASKS:-1}, with $THREADS threads each"
    echo "  settings  ${settings:-none}${given:+, and from the environment: ${given[*]}}"
    echo "  SRC       $(quoted "$SRC")"
    echo "  DST       $(quoted "$DST")"
    echo "  command   $(quoted "$@")"
    echo
}

# Prints words so that a shell reads the same words again, and leaves plain ones plain.
quoted() {
    local word words=()
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word=${word@Q}
        words+=("$word")
    done
    echo "${words[*]}"
}

# The last line of the log, and the job's exit code.
finish() {
    local code=$1 words
    words=$(in_words "$code")
    if [[ $LIVE -eq 1 && $code -eq $exit_changed ]]; then
        code=0
        words="$words ($exit_changed), which LIVE=1 allows"
    fi
    printf '\npmirror copy, job %s, %s: exit code %d, %s\n' "$SLURM_JOB_ID" "$(duration "$SECONDS")" "$code" "$words"
    exit "$code"
}

in_words() {
    case $1 in
        0) echo "done" ;;
        1) echo "wrong usage or configuration, or srun could not start pmirror" ;;
        3) echo "a guard refused before any change" ;;
        11) echo "fatal I/O: SRC, DST or the state directory" ;;
        20) echo "stopped by a signal" ;;
        23) echo "some entries failed, see faults.jsonl" ;;
        24) echo "only vanished or changed sources" ;;
        25) echo "deletions were held back by a guard" ;;
        70) echo "a bug in pmirror" ;;
        75) echo "the time was up, submit it again" ;;
        *)
            if [[ $1 -gt 128 ]]; then
                echo "a rank was killed by signal $(($1 - 128)) ($(kill -l "$1" 2>/dev/null || echo unknown))"
            else
                echo "not a code of pmirror"
            fi
            ;;
    esac
}

duration() { printf '%d:%02d:%02d' $(($1 / 3600)) $(($1 / 60 % 60)) $(($1 % 60)); }

main "$@"
