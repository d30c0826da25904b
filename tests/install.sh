#!/usr/bin/env bash
# Installs what pmirror needs, and only what is missing (Debian, Ubuntu).
#
#   tests/install.sh build           what `cargo build` needs besides cargo: an MPI library and libclang
#   tests/install.sh test            what the tests need: Slurm, file system tools, rsync
#   tests/install.sh bench           the tools that pmirror is measured against
#   tests/install.sh campaign        an emulated machine whose power can be taken away
#   tests/install.sh book            what `make book` needs: mdBook
#   tests/install.sh deb             what `make deb` needs: cargo-deb, and what finds the libraries of a program
#   tests/install.sh build test      several at once
#
# Programs that come by cargo go where it puts them: ~/.cargo/bin, or $CARGO_INSTALL_ROOT/bin.
# With everything there it asks dpkg once and is done: no network, no root.
set -euo pipefail

readonly rustc_min=1.88
readonly build_packages=(openmpi-bin libopenmpi-dev libclang-dev clang pkg-config)
readonly test_packages=(
    rsync attr acl libcap2-bin strace util-linux bsdutils xfsprogs btrfs-progs e2fsprogs python3
    slurm-wlm slurmctld slurmd slurm-client munge iproute2
    mpich libmpich-dev
)
readonly bench_packages=(rsync fpart rclone tar strace e2fsprogs python3) # fpart brings fpsync
readonly campaign_packages=(qemu-system-x86 busybox-static cpio kmod binutils time) # its kernel: tests/power/guest.sh
readonly deb_packages=(dpkg-dev)                                                     # dpkg-shlibdeps
# Of one version each, so that they make the same of the same files everywhere.
readonly mdbook=mdbook@0.5.4 cargo_deb=cargo-deb@3.8.0

main() {
    local what packages=() crates=() missing
    [[ $# -gt 0 ]] || fail "say what to install: build, test, bench, campaign, book, deb"
    for what in "$@"; do
        case $what in
            build)
                require_rust
                packages+=("${build_packages[@]}")
                ;;
            test) packages+=("${test_packages[@]}") ;;
            bench) packages+=("${bench_packages[@]}") ;;
            campaign) packages+=("${campaign_packages[@]}") ;;
            book) crates+=("$mdbook") ;;
            deb)
                packages+=("${deb_packages[@]}")
                crates+=("$cargo_deb")
                ;;
            *) fail "there is no '$what', only build, test, bench, campaign, book and deb" ;;
        esac
    done
    [[ ${#crates[@]} -eq 0 ]] || install_crates "${crates[@]}"
    [[ ${#packages[@]} -gt 0 ]] || return 0
    type -P dpkg-query >/dev/null ||
        fail "only knows Debian and Ubuntu; with your package manager install what these hold: ${packages[*]}"
    mapfile -t missing < <(missing_of "${packages[@]}")
    [[ ${#missing[@]} -eq 0 ]] || install "${missing[@]}"
}

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

# Rust comes from outside of the distribution, whose own is often too old. So it is asked for, not installed.
require_rust() {
    local version command
    for command in cargo rustc; do
        type -P "$command" >/dev/null ||
            fail "$command is missing: install Rust $rustc_min or newer, see https://rustup.rs"
    done
    version=$(rustc --version) || fail "rustc does not run: see https://rustup.rs"
    version=${version#rustc }
    version=${version%%[ -]*}
    [[ $(printf '%s\n' "$rustc_min" "$version" | sort -V | head -n 1) == "$rustc_min" ]] ||
        fail "rustc $version is too old, $rustc_min or newer is needed: rustup update stable"
}

# Builds programs that no distribution has, where they are missing: some minutes each.
install_crates() {
    local crate
    require_rust
    for crate in "$@"; do
        type -P "${crate%@*}" >/dev/null && continue
        echo "install.sh: cargo install --locked $crate"
        cargo install --locked --quiet "$crate" || fail "could not install $crate; cargo says why"
    done
}

# Prints those of the packages that are not installed, each once.
missing_of() {
    local package status
    local -A installed=()
    while read -r package status; do
        [[ $status != installed ]] || installed[$package]=1
    done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null)
    for package in "$@"; do
        [[ -v installed[$package] ]] || echo "$package"
        installed[$package]=1
    done
}

install() {
    local sudo=() output command
    if [[ $EUID -ne 0 ]]; then
        type -P sudo >/dev/null || fail "missing: $*; as root run: apt-get install -y $*"
        sudo=(sudo)
    fi
    command="${sudo[*]}${sudo:+ }apt-get install -y $*"
    echo "install.sh: $command"
    apt_get install -y --no-install-recommends "$@" >/dev/null && return
    # The lists of packages may be missing or old.
    apt_get update >/dev/null || true
    output=$(apt_get install -y --no-install-recommends "$@") && return
    fail "could not install $(missing_of "$@" | paste -sd ' '): $(reason "$output"); the command was: $command"
}

# Uses `sudo` of install. Waits for another apt-get rather than fail.
apt_get() {
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null 2>&1
}

# Prints the first error in what apt-get wrote.
reason() { grep -m 1 '^E: ' <<<"$1" || tail -n 1 <<<"$1"; }

main "$@"
