#!/usr/bin/env bash
# Submits the passes of the downtime, each to run when the one before it has ended well: slurm/final_passes.sh
# Run it where you would run sbatch, when nobody works in SRC any more: see README.md beside this file.
set -euo pipefail

# shellcheck source=slurm/pass.bash
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/pass.bash"

main() {
    local name
    [[ $# -eq 0 ]] || fail "takes no arguments; what it needs comes from settings.sh or from the environment"
    read_settings
    check_settings
    LIVE=0 # --final: a source that changes is a fault, not a custom
    # All jobs of the chain go by what is set now, however late they begin.
    for name in SRC DST PMIRROR MODULES STATE_DIR LIVE MPI_TYPE COMMENT_SECONDS REQUEUE REQUEUES_MAX; do
        export "${name?}"
    done
    [[ -z $settings ]] || PMIRROR_SETTINGS=$(readlink -f "$settings")
    export PMIRROR_SLURM_DIR=$directory ${PMIRROR_SETTINGS:+PMIRROR_SETTINGS}

    echo "SRC  $(quoted "$SRC")"
    echo "DST  $(quoted "$DST")"
    last='' ids=()
    if [[ $ONE_WALK -eq 1 ]]; then
        submit copy "copies what is left, and removes what SRC does not have" --final --delete "${GUARDS[@]}"
    else
        submit copy "copies what is left" --final
        submit rm "removes from DST what SRC does not have"
        submit mtimes "sets the times, owners and modes of the directories"
    fi
    submit cmp "compares both trees; fails if they differ"
    echo "Watch them: squeue -j $(join_ids) -o '%i %j %T %r %k'. A job that fails takes those after it along."
}

# Submits a pass behind the last one: its name, what it does, its further options. Without the first there is no second.
submit() {
    local pass=$1 what=$2 id line
    shift 2
    line=(
        sbatch --parsable --export=ALL "${SBATCH_OPTIONS[@]}"
        ${MAIL_TO:+--mail-user="$MAIL_TO" --mail-type=END,FAIL}
        ${last:+--dependency=afterok:"$last" --kill-on-invalid-dep=yes}
        "$directory/${pass}_pass.sh" "$@"
    )
    if ! id=$("${line[@]}"); then
        [[ -z $last ]] || scancel "${ids[@]}" || true
        fail "sbatch did not take the $pass pass${last:+; the jobs before it were cancelled}"
    fi
    last=${id%%;*} # --parsable may append the name of the cluster
    ids+=("$last")
    printf '%-10s %-7s %s\n' "$last" "$pass" "$what"
}

join_ids() {
    local IFS=,
    echo "${ids[*]}"
}

main "$@"
