# shellcheck shell=bash
# What the builders of all guests share; they source it, after they have set GUEST to their name.
export LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=1700000000
PATH=$PATH:/usr/sbin:/sbin
COMMON=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly COMMON

die() { echo "$GUEST: $*" >&2; exit 1; }

# say STEP: prints what begins now, after how long the step before it took.
STEP=start STEP_START=
say() {
    local now; now=$(date +%s%N)
    [ -z "$STEP_START" ] || printf '  (%d ms)\n' $(((now - STEP_START) / 1000000))
    STEP=$1 STEP_START=$now
    printf '%s: %s' "$GUEST" "$1"
}

# begin CACHE OUT: makes both folders, and waits for another build with the same cache.
begin() {
    mkdir -p "$1" "$2"
    CACHE=$1 OUT=$(cd "$2" && pwd)
    exec 9> "$CACHE/lock"
    flock 9  # two builds at once would fetch into the same folder
}

# Makes the folder WORK, whose folder out becomes the result; it goes when the script ends.
begin_work() {
    WORK=$(mktemp -d "$OUT/.build.XXXXXX")
    trap clean_up EXIT
    mkdir "$WORK/out"
}

clean_up() {
    local status=$?
    [ $status -eq 0 ] || echo "$GUEST: failed while $STEP" >&2
    rm -rf "$WORK"
}

# finish: what was made becomes the guest. The stamp is written last: it vouches for all the others.
finish() {
    rm -rf "$OUT/stamp" "$OUT/install"
    mv "$WORK"/out/* "$OUT/"
    stamp > "$OUT/stamp"
    say "done, in $OUT"$'\n'
}

# Whether the guest in OUT is what `stamp`, the builder's own, would vouch for.
is_up_to_date() {
    local file
    for file in vmlinuz initrd.img disk.raw guest.json; do [ -s "$OUT/$file" ] || return 1; done
    [ "$(cat "$OUT/stamp" 2> /dev/null)" = "$(stamp)" ] || return 1
    echo "$GUEST: up to date in $OUT"
}

# The shared part of a stamp.
stamp_of_common() { cat "$COMMON/common.sh" "$COMMON/initrd-init.sh"; }

# add_module TREE LIST NAME: appends the module's file, after those of all that it depends on, to the list. TREE is an
# unpacked kernel package.
add_module() {
    local tree=$1 list=$2 name=${3//_/[-_]} file dependency
    file=$(find "$tree/lib/modules" -name "$name.ko" -print -quit)
    if [ -z "$file" ]; then
        grep -qs "/$name\.ko\$" "$tree"/lib/modules/*/modules.builtin || die "the kernel has no module $3"
        return 0
    fi
    grep -qsxF "$file" "$list" && return
    for dependency in $(tr '\0' '\n' < "$file" | sed -n 's/^depends=//p' | tr ',' ' '); do
        add_module "$tree" "$list" "$dependency"
    done
    echo "$file" >> "$list"
}

# add_busybox ROOT BUSYBOX: Debian's static busybox finds its own commands without a link for each; only the shell needs
# its name.
add_busybox() {
    mkdir -p "$1/bin"
    cp "$2" "$1/bin/busybox"
    ln -s busybox "$1/bin/sh"
}

# pack_initrd BUSYBOX LIST OPTIONS INIT: an initrd that loads the modules of the list, mounts the root disk with OPTIONS
# and runs INIT there.
pack_initrd() {
    local root=$WORK/initrd module
    mkdir -p "$root"/{lib,proc,sys,dev,root}
    while read -r module; do
        cp "$module" "$root/lib/"
        basename "$module"
    done < "$2" > "$root/modules"
    add_busybox "$root" "$1"
    printf 'OPTIONS=%s\nINIT=%s\n' "$3" "$4" > "$root/settings"
    install -m 755 "$COMMON/initrd-init.sh" "$root/init"
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # Not compressed: an emulated processor unpacks slower than the host reads.
    (cd "$root" && find . | sort | cpio --quiet --reproducible -R 0:0 -H newc -o > "$WORK/out/initrd.img")
}
