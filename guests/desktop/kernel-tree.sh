#!/bin/bash
# Unpacks of the kernel's sources what `make lib/ mm/ kernel/` reads, and prepares it: runs in the guest's folder.
#   kernel-tree.sh TARBALL FOLDER
set -euo pipefail
# Whole folders, then the files that make and Kconfig read everywhere.
readonly FOLDERS="arch/x86 include init kernel lib mm scripts tools/include"

readonly TARBALL=$1 FOLDER=$2
patterns=()
for folder in $FOLDERS; do patterns+=("linux-source-6.1/$folder"); done
mkdir -p "$FOLDER"
tar -xJf "$TARBALL" -C "$FOLDER" --strip-components=1 --wildcards \
    "${patterns[@]}" linux-source-6.1/{Makefile,Kbuild} '*/Kconfig*' '*/Kbuild*' \
    'linux-source-6.1/io_uring/*.h'
cd "$FOLDER"
# The smallest kernel with processes and swapping. Of 32 bits: one of 64 would want objtool built first.
make -s tinyconfig > /dev/null
scripts/config -e SMP -e PRINTK -e SWAP -e SHMEM -e FUTEX -e EPOLL -e MODULES -e POSIX_TIMERS -e HIGH_RES_TIMERS \
    -d SPECULATION_MITIGATIONS -d WERROR
make -s olddefconfig
make -s -j"$(nproc)" prepare modules_prepare
