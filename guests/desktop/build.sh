#!/bin/bash
# Builds the desktop guest (kernel, initrd, root disk, guest.json, packages to install) from Debian 12's packages.
#   guests/desktop/build.sh OUTDIR
# As root or, with user namespaces, as anybody; it changes nothing on the host. Packages come from the machine's own apt
# sources and are kept in VMSYNC_GUEST_CACHE (default ~/.cache/vmsync/guests).
set -euo pipefail
GUEST=guests/desktop
HERE=$(cd "$(dirname "$0")" && pwd)
readonly GUEST HERE
# shellcheck source=guests/common.sh
. "$HERE/../common.sh"

readonly SUITE=bookworm
readonly DISK_MEGABYTES=6144     # sparse: the sessions write some hundred megabytes at most
readonly JOURNAL_MEGABYTES=64    # what mkfs gives a disk of this size by itself
readonly FILESYSTEM_ID=0d9e1d6c-2c55-4b0e-9a53-5b9d0f5c7a11
# The packages of the "install" session: they and whatever of theirs the guest lacks lie beside the disk.
readonly TO_INSTALL="geany"

# The system; X with one driver for all screens; a window manager; the programs of the sessions. No recommendations.
readonly SYSTEM="systemd-sysv dbus dbus-daemon udev kmod iproute2 ifupdown isc-dhcp-client sudo less nano wget socat procps \
qemu-guest-agent"
readonly SCREEN="xserver-xorg-core xserver-xorg-input-libinput xinit x11-xserver-utils xfonts-base fonts-dejavu-core \
fonts-liberation icewm xterm adwaita-icon-theme librsvg2-common"
readonly PROGRAMS="netsurf-gtk mpv audacious alsa-utils sox ffmpeg gimp abiword mousepad gcc libc6-dev make bc"
# What only this build uses: the helper's header files and what the kernel's scripts are made with.
readonly BUILD_ONLY="xz-utils libx11-dev bison flex libelf-dev"

# Loaded by the initrd, in this order, then by udev as devices are found.
readonly BOOT_MODULES="virtio_pci virtio_blk crc32c_generic ext4"
readonly MODULES="virtio_net virtio_input virtio_rng virtio_balloon virtio_console evdev button bochs snd_hda_intel \
snd_hda_codec_generic snd_seq_dummy af_packet autofs4 fuse crc32c_intel"

# MARK: packages

# The machine's own sources of Debian 12, one a line; other vendors' stay outside.
debian_sources() {
    # shellcheck disable=SC2016 # filled in by apt
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' \
        | grep " $SUITE" | sort -u
}

# Kernel and kernel sources are unpacked, not installed: the guest needs few of their files.
fetch_kernel() {
    say "fetching the kernel and its sources"
    local kernel
    kernel=$(apt-cache show --no-all-versions linux-image-amd64 | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p')
    [ -n "$kernel" ] || die "this machine's apt sources offer no linux-image-amd64; run: apt-get update"
    mkdir -p "$CACHE/kernel"
    (cd "$CACHE/kernel" && apt-get -qq -o APT::Sandbox::User=root download "$kernel" linux-source-6.1)
    KERNEL_DEB=$(newest "$CACHE/kernel/$kernel"_*.deb)
    SOURCE_DEB=$(newest "$CACHE"/kernel/linux-source-6.1_*.deb)
}

newest() { printf '%s\n' "$@" | sort -V | tail -n 1; }

# MARK: the initrd

unpack_kernel() {
    say "unpacking the kernel"
    local module
    mkdir -p "$WORK/kernel"
    dpkg-deb --fsys-tarfile "$KERNEL_DEB" | tar -x -C "$WORK/kernel" ./boot ./lib
    cp "$WORK"/kernel/boot/vmlinuz-* "$WORK/out/vmlinuz"
    for module in $BOOT_MODULES; do add_module "$WORK/kernel" "$WORK/modules" "$module"; done
    cp "$WORK/modules" "$WORK/boot-modules"
    for module in $MODULES; do add_module "$WORK/kernel" "$WORK/modules" "$module"; done
}

build_initrd() {
    say "packing the initrd"
    (cd "$CACHE/kernel" && apt-get -qq -o APT::Sandbox::User=root download busybox-static)
    dpkg-deb --fsys-tarfile "$(newest "$CACHE"/kernel/busybox-static_*.deb)" | tar -x -C "$WORK" ./bin/busybox
    pack_initrd "$WORK/bin/busybox" "$WORK/boot-modules" rw,noatime,discard /sbin/init
}

# MARK: the root disk

# What furnish.sh needs inside the namespace, readable for whomever it runs as there.
lay_out_supplies() {
    local supplies=$WORK/supplies release
    release=$(basename "$WORK"/kernel/lib/modules/*)
    mkdir -p "$supplies/lib/modules/$release" "$supplies/install"
    while read -r module; do
        install -D -m 644 "$module" "$supplies/${module#"$WORK/kernel/"}"
    done < "$WORK/modules"
    cp "$WORK/kernel/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$supplies/lib/modules/$release/"
    depmod -b "$supplies" "$release"
    cp -r "$HERE/files" "$HERE"/{media.sh,kernel-tree.sh,window-facts.c} "$supplies/"
    ln "$SOURCE_DEB" "$supplies/linux-source.deb" 2> /dev/null || cp "$SOURCE_DEB" "$supplies/linux-source.deb"
    truncate -s "${DISK_MEGABYTES}M" "$WORK/out/disk.raw"
    chmod -R a+rX "$WORK"
    chmod a+rw "$WORK/out/disk.raw" "$supplies/install" "$CACHE/debs" "$CACHE/media"
}

# Fetched packages and made media are kept in the cache. The disk is filled inside mmdebstrap's namespace, where every
# file still has its owner; through a second mount of the root folder, which shows what lies under its /proc and /sys.
build_disk() {
    say "installing Debian, about two minutes (its log: $OUT/build.log)"
    mkdir -p "$CACHE/debs" "$CACHE/media" "$WORK/root"
    lay_out_supplies
    local archives=/var/cache/apt/archives
    debian_sources > "$WORK/sources.list"
    [ -s "$WORK/sources.list" ] || die "this machine's apt has no sources of Debian 12 ($SUITE)"
    # shellcheck disable=SC2016 # the hooks' $1 is the root folder
    mmdebstrap --variant=minbase --architectures=amd64 --verbose \
        --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='path-exclude=/usr/share/gimp/2.0/help/*' --aptopt='APT::Install-Recommends "false"' \
        --include="$(echo "$SYSTEM $SCREEN $PROGRAMS $BUILD_ONLY" | tr -s ' ' ,)" --skip=essential/unlink,cleanup/apt \
        --setup-hook='mkdir -p "$1"'$archives --setup-hook="sync-in \"$CACHE/debs\" $archives" \
        --customize-hook="sync-out $archives \"$CACHE/debs\"" \
        --customize-hook="VMSYNC_SUPPLIES='$WORK/supplies' VMSYNC_MEDIA='$CACHE/media' VMSYNC_TO_INSTALL='$TO_INSTALL' \
            VMSYNC_BUILD_ONLY='$BUILD_ONLY' bash '$HERE/furnish.sh' \"\$1\"" \
        --customize-hook="mount --bind \"\$1\" '$WORK/root'" \
        --customize-hook="mkfs.ext4 -q -F -b 4096 -m 0 -U $FILESYSTEM_ID -J size=$JOURNAL_MEGABYTES -L desktop -d '$WORK/root' \
            -E hash_seed=$FILESYSTEM_ID,lazy_itable_init=0,lazy_journal_init=0,nodiscard '$WORK/out/disk.raw'" \
        --customize-hook="umount '$WORK/root'" \
        "$SUITE" /dev/null - < "$WORK/sources.list" > "$OUT/build.log" 2>&1 \
        || { tail -n 20 "$OUT/build.log" >&2; die "mmdebstrap failed; its whole log is $OUT/build.log"; }
    mkdir -p "$WORK/out/install"
    cp "$WORK"/supplies/install/*.deb "$WORK/out/install/"
}

# MARK: all together

write_description() {
    cat > "$WORK/out/guest.json" << JSON
{
    "arch": "x86_64",
    "machine": "pc-q35-7.2",
    "cpu": "Nehalem",
    "cores": 2,
    "memory_mb": 1024,
    "sound": true,
    "kernel": "vmlinuz",
    "initrd": "initrd.img",
    "disk": "disk.raw",
    "disk_format": "raw",
    "append": "console=tty0 quiet loglevel=3 panic=-1 mitigations=off consoleblank=0 vt.global_cursor_default=0"
}
JSON
}

# What decides whether the results are still good: the files of this folder. Packages stay as they were.
stamp() { (stamp_of_common && cd "$HERE" && find . -type f | sort | xargs sha256sum) | sha256sum; }

main() {
    [ $# -eq 1 ] || die "usage: build.sh OUTDIR"
    begin "${VMSYNC_GUEST_CACHE:-$HOME/.cache/vmsync/guests}/desktop" "$1"
    is_up_to_date && return
    mkdir -p "$CACHE/debs" "$CACHE/media"
    begin_work
    fetch_kernel
    unpack_kernel
    build_initrd
    build_disk
    write_description
    finish
}

main "$@"
