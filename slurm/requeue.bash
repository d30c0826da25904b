# shellcheck shell=bash disable=SC2154  # read by pass.bash, whose variables it uses
#
# Puts a job back into the queue whose time was up, or of which a rank or a node died, as long as it gets on.
# README.md beside this file tells how.

# The time was up; a rank or a node died: by SIGKILL, SIGSEGV, SIGTERM.
readonly exit_fatal=11 exit_stopped=20 exit_time=75 exits_died=(137 139 143)

# Whether the run of this job goes on from a checkpoint.
has_checkpoint() { [[ -e $run_directory/checkpoint/manifest ]]; }

# Sets `job_end`, as far as it is known, and looks at what Slurm itself has started again.
begin_attempt() {
    local end=${SLURM_JOB_END_TIME:-} last
    attempt=${SLURM_RESTART_COUNT:-0}
    [[ -n $end ]] || end=$(date -d "$(squeue -h -j "$SLURM_JOB_ID" -o %e 2>/dev/null)" +%s 2>/dev/null) || end=''
    job_end=$end
    if [[ $attempt -gt 0 && -d $run_directory ]]; then
        last=$(last_of_record number)
        # The last attempt ended with its script, so nobody has looked yet how far it came.
        [[ $last == "$((attempt - 1))" ]] || note_attempt $((attempt - 1)) lost
        if [[ $REQUEUE -eq 1 ]] && stands_still; then
            echo "$script: $(remedy)" >&2
            return 1
        fi
    fi
    # What a dead attempt said of its progress is not this one's.
    rm -f "$run_directory/progress.json"
}

# After an attempt with this exit code: puts the job back into the queue, and does not return; or says why not.
requeue_after() {
    local code=$1
    why_not=''
    [[ $REQUEUE -eq 1 ]] && is_unfinished "$code" || return 0
    note_attempt "$attempt" "$code"
    if is_cancelled; then
        why_not="the job was cancelled"
    elif has_word --stop-at || [[ -n ${PMIRROR_STOP_AT:-} ]]; then
        why_not="it was to stop by --stop-at"
    elif has_word --plan || has_word --dry-run || has_word -n; then
        why_not="a plan is not gone on with: it wants a longer --time"
    elif stands_still; then
        why_not=$(remedy)
    elif [[ $attempt -ge $REQUEUES_MAX ]]; then
        why_not="it was requeued $attempt times (REQUEUES_MAX)"
    else
        requeue "$code"
    fi
}

# Nothing can follow when it succeeds: Slurm ends this shell.
requeue() {
    local code=$1 words never
    words=$(in_words "$code")
    [[ $code -ne $exit_fatal ]] || words="a rank fell silent"
    end_comment "exit code $code, requeued"
    printf '\npmirror %s, job %s, %s: exit code %d, %s; requeued, for the %d. time: %s\n' \
        "$pass" "$SLURM_JOB_ID" "$(duration "$SECONDS")" "$code" "$words" $((attempt + 1)) "$(last_of_record words)"
    trap - TERM
    if words=$(scontrol requeue "$SLURM_JOB_ID" 2>&1); then
        exec {never}<> <(:)
        read -rt 300 -u "$never" || true
        exit "$code"
    fi
    why_not="Slurm refuses to requeue it: $words"
}

is_unfinished() {
    local code=$1 died
    [[ $code -ne $exit_time ]] || return 0
    for died in "${exits_died[@]}"; do
        [[ $code -ne $died ]] || return 0
    done
    # A rank fell silent: the others left at once, or progress.json would be gone.
    [[ $code -ne $exit_fatal || ! -e $run_directory/progress.json ]] || return 0
    # At the time limit, because the run could not stop before it.
    [[ $code -eq $exit_stopped && $is_terminated -eq 1 ]] && ! is_cancelled
}

# Slurm asked this shell to end, and not because the time is up.
is_cancelled() { [[ $is_terminated -eq 1 && (-z $job_end || $EPOCHSECONDS -lt $((job_end - 5))) ]]; }

# Whether the command has an option, by itself or with its value.
has_word() {
    local word
    for word in "${words[@]}" "${options[@]}" "${given_options[@]}"; do
        [[ $word != "$1" && $word != "$1="* ]] || return 0
    done
    return 1
}

# ------------------------------------------------------------------------------------------------------------ record

# RUN/requeues has a line for each attempt that did not come to the end: its number, when it ended, with which code,
# steps and bytes as of the checkpoint in force, what it changed on DST, and whether it got on. Without a run directory
# nothing was done at all.
note_attempt() {
    local number=$1 code=$2 steps=0 bytes=0 before changed verdict=still
    [[ -d $run_directory ]] || return 0
    before=$(last_of_record headway)
    { read -r steps bytes <"$run_directory/checkpoint/headway"; } 2>/dev/null || true
    changed=$(sed -n 's/^  "changed": \([0-9]*\),\{0,1\}$/\1/p' "$run_directory/progress.json" 2>/dev/null) || true
    if [[ $steps -gt ${before% *} || $bytes -gt ${before#* } || ${changed:-0} -gt 0 ]]; then
        verdict=on
    fi
    echo "$number $(date '+%FT%T%z') $code $steps $bytes ${changed:-0} $verdict" >>"$run_directory/requeues"
}

# Something of the last line of the record.
last_of_record() {
    local number='' time code steps=0 bytes=0 changed=0 verdict
    if [[ -s $run_directory/requeues ]]; then
        # shellcheck disable=SC2034  # not all of it is asked for
        read -r number time code steps bytes changed verdict < <(tail -n 1 "$run_directory/requeues")
    fi
    case $1 in
        number) echo "$number" ;;
        headway) echo "$steps $bytes" ;;
        words) echo "$steps steps and $bytes bytes are in the checkpoint, entries changed on DST that are not: $changed" ;;
    esac
}

# Two attempts in a row got nowhere.
stands_still() {
    local lines
    [[ -d $run_directory ]] || { [[ $attempt -gt 0 ]] && return; }
    lines=$(tail -n 2 "$run_directory/requeues" 2>/dev/null | grep -c ' still$') || true
    [[ ${lines:-0} -ge 2 ]]
}

remedy() {
    echo "two attempts in a row got nowhere, so it is not requeued. If the time was up: give it more (--time), or keep" \
        "less of it for the end (--grace). If a rank died: look above for what ended it. Then submit it again: what" \
        "is done is not done twice"
}
