#!/usr/bin/env bash
# The demonstration: mirrors a small tree with four MPI ranks, then proves that nothing is missing. `make demo` runs it.
# Another program than the release build: PMIRROR=/path/to/pmirror tests/demo.sh
set -euo pipefail

exec 3>&1 # the terminal, also where the output of a command is captured
cd "$(dirname "${BASH_SOURCE[0]}")/.."
pmirror=${PMIRROR:-target/release/pmirror}

main() {
    local place
    type -P "$pmirror" >/dev/null || fail "there is no $pmirror: run make build"
    type -P mpirun >/dev/null || fail "there is no mpirun: run tests/install.sh build"
    place=$(mktemp -d "${TMPDIR:-/tmp}/pmirror-demo.XXXXXX")
    # shellcheck disable=SC2064  # the directory of now
    trap "rm -rf -- '$place'" EXIT

    heading "A sample tree"
    make_tree "$place/source"
    describe "$place/source"

    heading "Mirror it with four ranks"
    mirror "$place" || fail "pmirror ended with exit code $?"

    heading "Once more: now there is nothing to do"
    mirror "$place" --json >"$place/second.json" || fail "pmirror ended with exit code $?"
    changed_nothing "$place/second.json"

    heading "What rsync thinks of it"
    compare_with_rsync "$place/source" "$place/target"
    printf '\nThe demonstration is over; all is as it should be.\n'
}

heading() { printf '\n== %s ==\n' "$1"; }

fail() {
    printf 'demo.sh: %s\n' "$1" >&2
    exit 1
}

# Prints a command as one would type it, then runs it.
show() {
    printf '$ %s\n' "$*" >&3
    "$@"
}

mirror() {
    local place=$1 launch=(mpirun -n 4)
    shift
    if [[ $(mpirun --version) == *'Open MPI'* ]]; then
        launch+=(--oversubscribe)
        [[ $EUID -ne 0 ]] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
        export OMPI_MCA_mpi_yield_when_idle=1 # four ranks, perhaps fewer cores
    fi
    show "${launch[@]}" "$pmirror" sync --state-dir "$place/runs" "$@" "$place/source" "$place/target" </dev/null
}

make_tree() {
    local tree=$1 a b c
    mkdir -p "$tree" "$place/target"
    for a in maps models logs; do
        for b in 1 2 3 4; do
            mkdir -p "$tree/$a/part-$b/deep/deeper"
            for c in {1..24}; do
                printf 'entry %d of %s, part %d\n' "$c" "$a" "$b" >"$tree/$a/part-$b/file-$c.txt"
            done
            printf 'as deep as it gets\n' >"$tree/$a/part-$b/deep/deeper/note"
        done
    done
    mkdir "$tree/empty" "$tree/special"
    ln -s ../maps/part-1/file-1.txt "$tree/special/a-symlink"
    ln -s /nowhere/at/all "$tree/special/a-dangling-symlink"
    ln "$tree/maps/part-2/file-2.txt" "$tree/special/a-hard-link"
    mkfifo "$tree/special/a-fifo"
    truncate -s 64M "$tree/special/a-sparse-file"
    printf 'the end' | dd of="$tree/special/a-sparse-file" bs=1M seek=40 conv=notrunc status=none
    head -c 5000000 /dev/urandom >"$tree/special/five-megabytes"
    printf 'x\n' >"$tree/special/ blanks, 'quotes' and a *"
    printf 'x\n' >"$tree/special/"$'a line\nbreak, and \xff, which is no UTF-8'
    printf 'x\n' >"$tree/special/-n"
    printf '#!/bin/sh\n' >"$tree/special/a-script"
    chmod 0755 "$tree/special/a-script"
    printf 'x\n' >"$tree/special/a-secret"
    chmod 0400 "$tree/special/a-secret"
    touch -d '1999-12-31 23:59:59' "$tree/special/an-old-file" "$tree/empty"
    # Not every file system has these.
    if setfattr -n user.comment -v 'an extended attribute' "$tree/special/a-script" 2>/dev/null; then
        echo "with an extended attribute"
    fi
    if setfacl -m u:65534:r "$tree/special/a-script" 2>/dev/null; then
        echo "with an access control list"
    fi
}

describe() {
    printf '%s files, %s directories, %s symlinks, a FIFO, a sparse file, a hard link, odd names\n' \
        "$(count "$1" f)" "$(count "$1" d)" "$(count "$1" l)"
}

count() { find "$1" -type "$2" -printf x | wc -c; }

# The summary counts every entry by kind and by what was done to it.
changed_nothing() {
    local done_to
    done_to=$(grep -oE '"(created|updated|metadata_only)": *[0-9]+' "$1") ||
        fail "the summary has no counts: $(head -c 300 "$1")"
    grep -qE '"same": *[1-9]' "$1" || fail "the second run saw no entry that is the same"
    ! grep -vE ': *0$' <<<"$done_to" || fail "the second run changed something, see above"
    echo "The second run found everything the same, and changed nothing."
}

compare_with_rsync() {
    local differences
    if ! type -P rsync >/dev/null; then
        echo "(rsync is not installed: left out)"
        return
    fi
    differences=$(show rsync -aHAXn --delete -i "$1/" "$2/") || fail "rsync ended with exit code $?"
    [[ -z $differences ]] || fail "rsync finds differences:"$'\n'"$differences"
    echo "(no line: no difference)"
}

main "$@"
