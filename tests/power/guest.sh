#!/usr/bin/env bash
# Builds the guest of tests/power_cuts.rs: Debian's cloud kernel, and an initramfs with busybox, Open MPI and pmirror.
#
#   tests/power/guest.sh PMIRROR DIRECTORY     leaves DIRECTORY/kernel and DIRECTORY/initramfs
#
# The kernel's package is only unpacked, not installed: this machine boots as it did before.
set -euo pipefail

readonly here=${BASH_SOURCE[0]%/*}
readonly modules=(virtio_pci virtio_blk xfs)
# Plug-ins for networks, schedulers and files that one emulated machine does not have: each costs time to load.
readonly unused=(ofi ucx uct openib usnic psm romio hcoll monitoring osc_ fcoll_ fbtl_ sharedfp_ fs_ io_ crcp_ ras_ plm_slurm
    plm_rsh cuda gds zmq)
readonly package_of_kernel=linux-image-cloud-amd64

main() {
    [[ $# -eq 2 ]] || fail "say which pmirror, and where the guest is to be left"
    local pmirror=$1 directory=$2 root
    mkdir -p "$directory"
    directory=$(cd "$directory" && pwd)
    [[ -d $directory/unpacked/boot ]] || unpack_kernel "$directory"
    cp "$directory"/unpacked/boot/vmlinuz-* "$directory/kernel"
    root=$directory/root
    rm -rf "$root"
    mkdir -p "$root"/{bin,proc,sys,dev,tmp,source,target,state,etc,lib,usr/lib}
    cp "$(type -P busybox)" "$root/bin/busybox"
    cp "$here/init" "$root/init"
    copy_modules "$directory/unpacked" "$root"
    strip -o "$root/bin/pmirror" "$pmirror"
    copy_mpi "$root"
    copy_libraries "$root"
    (cd "$root" && find . | cpio -o -H newc --quiet) >"$directory/initramfs" # an emulated processor is slow to unpack
    rm -rf "$root"
}

fail() {
    printf 'guest.sh: %s\n' "$1" >&2
    exit 1
}

unpack_kernel() {
    local directory=$1 kernel
    kernel=$(apt-cache depends "$package_of_kernel" | awk '/Depends:/ { print $2; exit }')
    [[ -n $kernel ]] || fail "apt knows no $package_of_kernel: run apt-get update"
    (cd "$directory" && apt-get -q download "$kernel" >/dev/null 2>&1) || fail "can not download $kernel"
    dpkg-deb -x "$directory/$kernel"_*.deb "$directory/unpacked"
}

# With what each of them needs.
copy_modules() {
    local unpacked=$1 root=$2 version module file
    version=$(basename "$unpacked"/lib/modules/*)
    depmod -b "$unpacked" "$version"
    for module in "${modules[@]}"; do
        modprobe -d "$unpacked" -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" { print $2 }' | while read -r file; do
        install -D "$file" "$root/lib/modules/$version/${file#*"/$version/"}"
    done
    depmod -b "$root" "$version"
}

# The launcher, and what it loads while it runs.
copy_mpi() {
    local root=$1 place
    cp -L "$(type -P mpirun)" "$(type -P orted)" "$root/bin/"
    for place in /usr/lib/*/openmpi /usr/lib/*/pmix2 /usr/lib/*/pmix /usr/share/openmpi /usr/share/pmix /etc/openmpi; do
        [[ ! -d $place ]] || (cp -aL --parents "$place" "$root/" 2>/dev/null || true)
    done
    for place in "${unused[@]}"; do
        find "$root/usr/lib" -name "mca_*$place*.so" -delete
    done
}

# All libraries that a program or a plug-in in the guest is linked with.
copy_libraries() {
    local root=$1 file
    find "$root" -type f \( -perm -u+x -o -name '*.so*' \) -not -path '*/lib/modules/*' -print0 |
        while IFS= read -r -d '' file; do
            ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true
        done | sort -u | while read -r file; do
        [[ -e $root$file ]] || cp -L --parents "$file" "$root/" 2>/dev/null || true
    done
}

main "$@"
