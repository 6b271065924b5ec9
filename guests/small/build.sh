#!/bin/bash
# Builds the small guest (kernel, initrd, root disk, guest.json) from Debian's packages.
#   guests/small/build.sh ARCH OUTDIR        ARCH: x86_64 or aarch64
# Needs no root, and changes nothing on the host: apt works on a private state in the cache folder, with the sources
# and keys that the machine already trusts. VMSYNC_GUEST_CACHE names the cache folder (default ~/.cache/vmsync/guests);
# packages stay as they were first fetched until that folder is deleted.
set -euo pipefail
GUEST=guests/small
HERE=$(cd "$(dirname "$0")" && pwd)
readonly HERE
# shellcheck source=guests/common.sh
. "$HERE/../common.sh"
export E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH

readonly DISK_MEGABYTES=256   # room for tests that write; the file is sparse
readonly JOURNAL_MEGABYTES=4  # the least ext4 takes: a journal that wraps early keeps the set of changed blocks small
readonly FILESYSTEM_ID=6f0f64a5-5b0c-4b44-8a05-76d2c3a2c0de  # fixed, so that equal inputs give an equal image
readonly MODULES="virtio_pci virtio_blk virtio_net virtio_input virtio_rng virtio_balloon virtio_console evdev"
# The guest agent, and the packages of the libraries that it needs.
readonly AGENT_PACKAGES="qemu-guest-agent libc6 libglib2.0-0 libpcre2-8-0 libnuma1 libudev1 liburing2"
readonly AGENT_LIBRARIES="libc libm libglib-2.0 libgmodule-2.0 libpcre2-8 libnuma libudev liburing"

# The facts that differ between the two architectures.
choose_architecture() {
    case "$ARCH" in
        x86_64)
            DEBIAN_ARCH=amd64 CONSOLE=ttyS0 MACHINE=pc-q35-7.2 CPU=Nehalem LOADER=lib64/ld-linux-x86-64.so.2
            EXTRA_MODULES=button ;;  # the ACPI power button
        aarch64)
            DEBIAN_ARCH=arm64 CONSOLE=ttyAMA0 MACHINE=virt-7.2 CPU=cortex-a72 LOADER=lib/ld-linux-aarch64.so.1
            EXTRA_MODULES= ;;  # the witness reads the power button's GPIO line itself
        *) die "unknown architecture '$ARCH' (x86_64 or aarch64)" ;;
    esac
}

# MARK: packages

# Sets apt up to look at another architecture with a state of its own, and not to run the host's hooks.
prepare_apt() {
    local apt=$CACHE/apt
    mkdir -p "$apt"/state/lists/partial "$apt"/cache/archives/partial
    touch "$apt/status"
    cat > "$apt/apt.conf" << CONF
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "$DEBIAN_ARCH";
APT::Architectures { "$DEBIAN_ARCH"; };
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "$apt/state";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
CONF
}

private_apt() {
    local tool=$1; shift
    "$tool" -qq -c "$CACHE/apt/apt.conf" "$@"
}

# Leaves the verified packages in $CACHE/debs. Checksums are written last: they mark the set as whole.
fetch_packages() {
    local names="busybox-static musl-dev linux-libc-dev $AGENT_PACKAGES"
    if [ "$(cat "$CACHE/debs/names" 2>/dev/null)" = "$names" ] \
        && (cd "$CACHE/debs" && sha256sum --quiet --check SHA256SUMS) 2>/dev/null; then
        say "packages are in the cache"
        return
    fi
    rm -rf "$CACHE/debs"
    mkdir -p "$CACHE/debs"
    prepare_apt
    say "reading the package lists"
    private_apt apt-get update || echo "guests/small: some package lists could not be fetched; trying to go on" >&2
    local kernel
    kernel=$(private_apt apt-cache show --no-all-versions "linux-image-cloud-$DEBIAN_ARCH" \
        | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p')
    [ -n "$kernel" ] || die "this machine's apt sources offer no linux-image-cloud-$DEBIAN_ARCH (Debian 12 is needed)"
    say "fetching $kernel, busybox, musl, the guest agent"
    # shellcheck disable=SC2086 # a list of names
    (cd "$CACHE/debs" && private_apt apt-get download "$kernel" $names && echo "$names" > names \
        && sha256sum ./*.deb > SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS)
}

unpack_packages() {
    say "unpacking"
    mkdir "$WORK/packages"
    for package in "$CACHE"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$WORK/packages" --exclude='./usr/share/*'
    done
    KERNEL_IMAGE=$(echo "$WORK"/packages/boot/vmlinuz-*)
    [ -f "$KERNEL_IMAGE" ] || die "the kernel package holds no single /boot/vmlinuz-*"
}

# MARK: the witness

# The Swift toolchain's own clang, which comes with a linker and compiles for both architectures.
swift_clang() {
    swift -print-target-info | sed -n 's|.*"runtimeResourcePath": "\(.*\)/lib/swift".*|\1/bin/clang|p'
}

build_witness() {
    say "compiling the witness"
    local clang triplet=$ARCH-linux-musl root=$WORK/packages/usr
    clang=$(swift_clang)
    "$clang" --target="$triplet" -std=gnu17 -Os -Wall -Wextra -Werror -static -nostdlib -fuse-ld=lld -s \
        -fno-asynchronous-unwind-tables -nostdlibinc \
        -isystem "$root/include/$triplet" -isystem "$root/include" -isystem "$root/include/$ARCH-linux-gnu" \
        -o "$WORK/witness" "$root/lib/$triplet/crt1.o" "$HERE/witness.c" "$root/lib/$triplet/libc.a"
}

# MARK: the initrd

build_initrd() {
    say "packing the initrd"
    local module
    for module in $MODULES $EXTRA_MODULES; do add_module "$WORK/packages" "$WORK/modules" "$module"; done
    pack_initrd "$WORK/packages/bin/busybox" "$WORK/modules" rw,noatime /etc/rc
}

# MARK: the root disk

# add_agent ROOT: the one dynamic program of the guest, with its loader and libraries.
add_agent() {
    local packages=$WORK/packages library
    mkdir -p "$1/lib" "$1/$(dirname "$LOADER")"
    cp "$packages/usr/sbin/qemu-ga" "$1/sbin/"
    cp -L "$packages/$LOADER" "$1/$LOADER"
    for library in $AGENT_LIBRARIES; do
        cp -L "$packages"/{,usr/}lib/"$ARCH"-linux-gnu/"$library".so.[0-9] "$1/lib/" 2> /dev/null \
            || [ -n "$(find "$1/lib" -name "$library.so.*")" ] || die "no package holds $library"
    done
    # With it the agent sets the hardware clock too.
    ln -s ../bin/busybox "$1/sbin/hwclock"
}

build_disk() {
    say "making the root disk"
    local root=$WORK/root disk=$WORK/out/disk.raw
    mkdir -p "$root"/{sbin,etc,proc,sys,dev,tmp,var,root}
    add_busybox "$root" "$WORK/packages/bin/busybox"
    add_agent "$root"
    cp "$WORK/witness" "$root/sbin/"
    install -m 755 "$HERE/root-rc.sh" "$root/etc/rc"
    echo "root:x:0:0:root:/root:/bin/sh" > "$root/etc/passwd"
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    truncate -s "${DISK_MEGABYTES}M" "$disk"
    mkfs.ext4 -q -F -b 4096 -m 0 -U "$FILESYSTEM_ID" -J size=$JOURNAL_MEGABYTES -d "$root" \
        -E "root_owner=0:0,hash_seed=$FILESYSTEM_ID,lazy_itable_init=0,lazy_journal_init=0" "$disk"
    own_by_root "$root" "$disk"
}

# Files carry the owner and the change time that they had on the host; set both, for every user and hour alike.
own_by_root() {
    local field
    (cd "$1" && find . -mindepth 1 -printf '/%P\n') | while read -r path; do
        echo "sif $path uid 0"
        echo "sif $path gid 0"
        for field in ctime atime mtime crtime; do echo "sif $path $field @$SOURCE_DATE_EPOCH"; done
    done > "$WORK/owners"
    debugfs -w -f "$WORK/owners" "$2" > "$WORK/debugfs.log" 2>&1
}

# MARK: all together

# init_on_free: freed memory reads as zeros, so the first checkpoint does not carry what the boot left behind
# (14 MB instead of 40 MB on x86_64).
write_description() {
    cat > "$WORK/out/guest.json" << JSON
{
    "arch": "$ARCH",
    "machine": "$MACHINE",
    "cpu": "$CPU",
    "memory_mb": 256,
    "kernel": "vmlinuz",
    "initrd": "initrd.img",
    "disk": "disk.raw",
    "disk_format": "raw",
    "append": "console=$CONSOLE quiet panic=-1 init_on_free=1"
}
JSON
}

# What decides whether the results are still good: these files and the packages.
stamp() {
    (stamp_of_common && cd "$HERE" && cat build.sh witness.c root-rc.sh && cat "$CACHE/debs/SHA256SUMS") 2> /dev/null \
        | sha256sum
}

main() {
    [ $# -eq 2 ] || die "usage: build.sh x86_64|aarch64 OUTDIR"
    ARCH=$1 GUEST="guests/small $1"
    choose_architecture
    begin "${VMSYNC_GUEST_CACHE:-$HOME/.cache/vmsync/guests}/$ARCH" "$2"
    is_up_to_date && return
    begin_work
    fetch_packages
    unpack_packages
    build_witness
    build_initrd
    build_disk
    write_description
    cp "$KERNEL_IMAGE" "$WORK/out/vmlinuz"
    finish
}

main "$@"
