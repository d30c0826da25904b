# shellcheck shell=bash
#
# What the passes share; *_pass.sh and final_passes.sh read it. It is no job of its own: see README.md beside this file.

# The settings that the environment can give. Arrays it cannot hold, so options and guards come from the file alone.
readonly names=(SRC DST PMIRROR MODULES THREADS STATE_DIR LIVE MPI_TYPE MAIL_TO ONE_WALK COMMENT_SECONDS
    REQUEUE REQUEUES_MAX)
readonly exit_usage=1 exit_changed=24 exit_lost=137
directory=$(dirname "${BASH_SOURCE[0]}")
script=${0##*/}
readonly directory
# shellcheck source=slurm/requeue.bash
source "$directory/requeue.bash"

# Runs a pass with all ranks of the job: its name, then the options that stood behind the script's name.
run_pass() {
    local pass=$1 code=0 command words options given_options run_directory attempt job_end why_not is_terminated=0
    shift
    given_options=("$@")
    script=${pass}_pass.sh
    [[ -n ${SLURM_JOB_ID:-} ]] || fail "not inside a Slurm job; run: sbatch $directory/$script"
    read_settings
    load_modules
    check_settings
    check_program
    options_of "$pass"
    # srun of Slurm 22.05 and newer does not take this from the job by itself.
    [[ -z ${SLURM_CPUS_PER_TASK:-} ]] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
    run_directory=${STATE_DIR:-${PMIRROR_STATE_DIR:-${SLURM_SUBMIT_DIR:-.}/pmirror-runs}}/$pass-$SLURM_JOB_ID
    command=(srun --mpi="$MPI_TYPE" --kill-on-bad-exit=1 --wait=60 --export=ALL "${SRUN_OPTIONS[@]}" "$PMIRROR")
    if has_checkpoint; then
        # With the options that it began with.
        command+=(resume --threads "$THREADS" -- "$run_directory")
    else
        command+=(
            "${words[@]}" --run-id "$pass-$SLURM_JOB_ID" --threads "$THREADS"
            ${STATE_DIR:+--state-dir "$STATE_DIR"} "${options[@]}" "$@" -- "$SRC" "$DST"
        )
    fi
    print_header "$pass" "${command[@]}"
    begin_attempt || exit "$exit_lost"
    start_comment
    # At the time limit, and when the job is cancelled, Slurm sends SIGTERM to this shell too. It waits for srun, and
    # writes the last line.
    trap is_terminated=1 TERM
    "${command[@]}" || code=$?
    requeue_after "$code"
    finish "$pass" "$code"
}

fail() {
    printf '%s: %s\n' "$script" "$1" >&2
    exit "$exit_usage"
}

# ---------------------------------------------------------------------------------------------------------- settings

# Sets all of `names`, the arrays, `settings` (the file) and `given` (the names from the environment).
read_settings() {
    local name
    local -A environment=()
    for name in "${names[@]}"; do
        [[ ! -v $name ]] || environment[$name]=${!name}
    done
    SRC='' DST='' PMIRROR=pmirror MODULES='' THREADS='' STATE_DIR='' LIVE=0 MPI_TYPE=pmix
    MAIL_TO='' ONE_WALK=0 COMMENT_SECONDS=30 REQUEUE=1 REQUEUES_MAX=100
    unset OPTIONS COPY_OPTIONS RM_OPTIONS MTIMES_OPTIONS CMP_OPTIONS GUARDS SRUN_OPTIONS SBATCH_OPTIONS
    OPTIONS=() COPY_OPTIONS=() RM_OPTIONS=() MTIMES_OPTIONS=() CMP_OPTIONS=() GUARDS=() SRUN_OPTIONS=()
    SBATCH_OPTIONS=() given=()

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

# sbatch runs a copy of the script from its spool directory, so the settings are looked for where the job was submitted.
find_settings() {
    local file
    if [[ -n ${PMIRROR_SETTINGS:-} ]]; then
        [[ -r $PMIRROR_SETTINGS ]] || fail "cannot read PMIRROR_SETTINGS: $(quoted "$PMIRROR_SETTINGS")"
        echo "$PMIRROR_SETTINGS"
        return
    fi
    for file in "${SLURM_SUBMIT_DIR:-.}"/{,slurm/}settings.sh "$directory/settings.sh"; do
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
    local name where="${settings:-settings.sh, which is not in ${SLURM_SUBMIT_DIR:-$PWD}}"
    for name in SRC DST; do
        [[ -n ${!name} ]] || fail "$name is not set, neither in the environment nor in $where"
    done
    for name in LIVE ONE_WALK REQUEUE; do
        [[ ${!name} == [01] ]] || fail "$name is '${!name}', but must be 0 or 1"
    done
    [[ $THREADS =~ ^[1-9][0-9]*$ ]] || fail "THREADS is '$THREADS', but must be a number above 0"
    [[ $COMMENT_SECONDS =~ ^[0-9]+$ ]] || fail "COMMENT_SECONDS is '$COMMENT_SECONDS', but must be a number (0: never)"
    [[ $REQUEUES_MAX =~ ^[0-9]+$ ]] || fail "REQUEUES_MAX is '$REQUEUES_MAX', but must be a number"
}

check_program() {
    local found
    found=$(type -P -- "$PMIRROR") ||
        fail "'$PMIRROR' is not an executable program on $(hostname); set PMIRROR or MODULES"
    PMIRROR=$found
}

# Sets `words` and `options` for a pass. What holds deletions back comes from the file and the command line alone.
options_of() {
    case $1 in
        copy) words=(sync) options=("${OPTIONS[@]}" "${COPY_OPTIONS[@]}") ;;
        rm) words=(rm --target-only) options=("${GUARDS[@]}" "${RM_OPTIONS[@]}") ;;
        mtimes) words=(mtimes) options=("${MTIMES_OPTIONS[@]}") ;;
        cmp) words=(cmp) options=("${CMP_OPTIONS[@]}") ;;
    esac
}

# --------------------------------------------------------------------------------------------------------------- log

print_header() {
    local pass=$1
    shift
    echo "pmirror $pass, job $SLURM_JOB_ID, $(date '+%F %T %Z')"
    echo "  nodes     $SLURM_JOB_NUM_NODES: $SLURM_JOB_NODELIST"
    echo "  tasks     ${SLURM_NTASKS:-1}, with $THREADS threads each"
    echo "  settings  $(quoted "${settings:-none}")${given:+, and from the environment: ${given[*]}}"
    echo "  SRC       $(quoted "$SRC")"
    echo "  DST       $(quoted "$DST")"
    echo "  command   $(quoted "$@")"
    echo
}

# Prints words so that a shell reads the same words again, and leaves plain ones plain. Byte by byte: what turns round the
# text of a terminal is a letter as any in UTF-8.
quoted() {
    local LC_ALL=C word words=()
    for word in "$@"; do
        [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word=${word@Q}
        words+=("$word")
    done
    echo "${words[*]}"
}

# The last line of the log, and the job's exit code.
finish() {
    local pass=$1 code=$2 words
    words=$(in_words "$code")
    [[ $code -ne $exit_time ]] || words="$words, submit it again"
    if [[ $LIVE -eq 1 && $code -eq $exit_changed ]]; then
        code=0
        words="$words ($exit_changed), which LIVE=1 allows"
    fi
    end_comment "exit code $code, $words"
    [[ -z $why_not ]] || printf '\n%s: %s\n' "$script" "$why_not"
    printf '\npmirror %s, job %s, %s: exit code %d, %s\n' \
        "$pass" "$SLURM_JOB_ID" "$(duration "$SECONDS")" "$code" "$words"
    exit "$code"
}

in_words() {
    case $1 in
        0) echo "done" ;;
        1) echo "wrong usage or configuration, or srun could not start pmirror" ;;
        3) echo "a guard refused before any change" ;;
        11) echo "fatal I/O: SRC, DST (full? read-only?) or the state directory" ;;
        20) echo "stopped by a signal" ;;
        23) echo "some entries failed, see faults.jsonl" ;;
        24) echo "only vanished or changed sources" ;;
        25) echo "deletions were held back by a guard" ;;
        26) echo "the trees differ, see differences.jsonl" ;;
        70) echo "a bug in pmirror" ;;
        75) echo "the time was up" ;;
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

# ----------------------------------------------------------------------------------------------------------- comment

# Keeps the job's comment current in the background: 61 % 1.2 PB ETA 02:40. Where the job has a comment already, that
# one stays: some sites read it. What an earlier attempt of the job wrote there is ours.
start_comment() {
    local comment
    comment_loop=''
    [[ $COMMENT_SECONDS -gt 0 ]] || return 0
    comment=$(squeue -h -j "$SLURM_JOB_ID" -o %k 2>/dev/null) || return 0
    if [[ $attempt -gt 0 && $comment =~ ^([0-9]+ % |[a-z]+ [0-9,]+ entries|exit code [0-9]+, ) ]]; then
        comment=''
    fi
    [[ -z $comment || $comment == '(null)' ]] || return 0
    keep_comment "$run_directory/progress.json" &
    comment_loop=$!
}

# What pmirror says of itself in progress.json, until that fails.
keep_comment() {
    local file=$1 words last='' never
    # A wait that is no process of its own, which would outlive this loop.
    exec {never}<> <(:)
    while ! read -rt "$COMMENT_SECONDS" -u "$never"; do
        words=$(sed -n 's/^  "comment": "\(.*\)"$/\1/p' "$file" 2>/dev/null) || continue
        [[ -n $words && $words != "$last" ]] || continue
        write_comment "$words" || { echo "$script: scontrol cannot change the job's comment" && return; }
        last=$words
    done
}

write_comment() { scontrol update JobId="$SLURM_JOB_ID" Comment="$1" &>/dev/null; }

# The last comment tells the end, unless the loop had to give up.
end_comment() {
    [[ -n $comment_loop ]] && kill "$comment_loop" 2>/dev/null || return 0
    wait "$comment_loop" 2>/dev/null || true
    write_comment "$1" || true
}
