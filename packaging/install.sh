#!/usr/bin/env bash
# Puts a built pmirror where it belongs below a prefix: program, man page, completions, pages, batch scripts.
#
#   packaging/install.sh PREFIX [PROGRAM]           PROGRAM: target/release/pmirror, if none is named
#   packaging/install.sh --generate DIR [PROGRAM]   only what the program prints: man page and completions
#
# With DESTDIR set everything goes below that directory, and PREFIX is the place that it is meant for.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly here

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

# What the program says of itself, so that it fits the program.
generate() {
    local program=$1 dir=$2
    mkdir -p "$dir"
    "$program" generate man >"$dir/pmirror.1"
    "$program" generate bash >"$dir/pmirror.bash"
    "$program" generate zsh >"$dir/_pmirror"
    "$program" generate fish >"$dir/pmirror.fish"
}

install_below() {
    local program=$1 share=$2/share bin=$2/bin made page
    made=$(mktemp -d)
    # shellcheck disable=SC2064 # The directory of now.
    trap "rm -rf '$made'" EXIT
    generate "$program" "$made"
    install -D -m 755 "$program" "$bin/pmirror"
    install -D -m 644 "$made/pmirror.1" "$share/man/man1/pmirror.1"
    install -D -m 644 "$made/pmirror.bash" "$share/bash-completion/completions/pmirror"
    install -D -m 644 "$made/_pmirror" "$share/zsh/site-functions/_pmirror"
    install -D -m 644 "$made/pmirror.fish" "$share/fish/vendor_completions.d/pmirror.fish"
    install -D -m 644 "$here/LICENSE" "$share/doc/pmirror/LICENSE"
    # The pages link to each other: they keep their places.
    while IFS= read -r page; do
        install -D -m 644 "$here/$page" "$share/doc/pmirror/$page"
    done < <(cd "$here" && find README.md CHANGELOG.md docs slurm/README.md -name '*.md')
    install -d "$share/pmirror/slurm" "$share/pmirror/modulefiles"
    install -m 755 "$here"/slurm/*.sh "$share/pmirror/slurm"
    install -m 644 "$here"/slurm/*.bash "$here/slurm/scrontab.example" "$share/pmirror/slurm"
    install -m 644 "$here"/packaging/modulefiles/* "$share/pmirror/modulefiles"
}

generate_only=0
[[ ${1:-} != --generate ]] || { generate_only=1 && shift; }
[[ $# -ge 1 && $# -le 2 ]] || fail "say where: packaging/install.sh PREFIX [PROGRAM]"
program=${2:-$here/target/release/pmirror}
[[ -x $program ]] || fail "there is no program $program: run 'make build' first"

if ((generate_only)); then
    generate "$program" "$1"
else
    [[ $1 == /* ]] || fail "PREFIX $1 does not begin with a /"
    install_below "$program" "${DESTDIR:-}$1"
    echo "installed below ${DESTDIR:-}$1"
fi
