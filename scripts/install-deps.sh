#!/bin/bash
# Installs the Debian 12 packages that are missing on this machine; does nothing, quickly, when none is.
#   scripts/install-deps.sh --for build|demo|desktop|check|test|bench
# This file is the one place that lists them.
set -euo pipefail

# What the compiler needs: C and C++ headers, zstd (packs), xxhash (page digests), SQLite and PostgreSQL's client
# (metadata), D-Bus (what the host says of itself), zlib (HTTP).
readonly BUILD="g++ libc6-dev libdbus-1-dev libpq-dev libsqlite3-dev libxxhash-dev libzstd-dev pkg-config zlib1g-dev"
# Machines to run, their network boot images (QEMU looks for them with any network card), and what builds the guest.
readonly MACHINES="qemu-system-x86 qemu-utils ipxe-qemu cpio e2fsprogs util-linux"
# What builds the desktop guest from Debian's packages.
readonly DESKTOP="mmdebstrap kmod xz-utils"
# The linter of shell scripts, and what the check of the arrows is written in.
readonly CHECK="python3 shellcheck"
# The second architecture, clients that we did not write, to hold our NBD server against, what makes slow links, and the
# servers that metadata and blobs may lie on; the services by which a host tells that it sleeps.
readonly TEST="qemu-system-arm fio libnbd-bin nbdkit iproute2 postgresql python3-venv dbus dbus-bin systemd python3-dbus
    python3-gi"
# What figures are drawn with, and what packs are measured beside; servers and their clients are in the lists above.
readonly BENCH="gnuplot-nox xdelta3 zstd"

usage() { echo "usage: install-deps.sh --for build|demo|desktop|check|test|bench" >&2; exit 2; }

if [ $# -ne 2 ] || [ "$1" != --for ]; then usage; fi
case "$2" in
    build) wanted="$BUILD" ;;
    demo) wanted="$BUILD $MACHINES" ;;
    desktop) wanted="$BUILD $MACHINES $DESKTOP" ;;
    check) wanted="$CHECK" ;;
    test) wanted="$BUILD $MACHINES $TEST" ;;
    bench) wanted="$BUILD $MACHINES $DESKTOP $TEST $BENCH" ;;
    *) usage ;;
esac

command -v swift > /dev/null || {
    echo "install-deps: Swift 6.3 or newer is not on the PATH; see https://www.swift.org/install/linux" >&2
    exit 1
}

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi }

# shellcheck disable=SC2086 # a list of words
install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends $missing < /dev/null > /dev/null
}

echo "install-deps: installing what '$2' needs and is missing here:$missing"
# The lists may be absent or old, so they are read again only when what they say does not work.
install || {
    echo "install-deps: reading the package lists anew"
    as_root apt-get update -qq
    install
}
