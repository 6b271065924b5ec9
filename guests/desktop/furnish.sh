#!/bin/bash
# Makes a desktop of the fresh Debian in folder $1: a hook of build.sh, run as the root of mmdebstrap's namespace.
#   VMSYNC_SUPPLIES    what build.sh laid out; packages for the "install" session go into its folder install
#   VMSYNC_MEDIA       keeps what media.sh made, for the next build
#   VMSYNC_TO_INSTALL  packages of the "install" session
#   VMSYNC_BUILD_ONLY  packages to remove at the end
set -euo pipefail
ROOT=$1
readonly ROOT

inside() { chroot "$ROOT" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }
as_user() { inside runuser -u user -- env HOME=/home/user "$@"; }

add_user() {
    inside useradd --create-home --shell /bin/bash --groups audio,video,input user
    inside passwd -q -d root
    # Whoever has the guest has it all; there is nothing to guard.
    echo "user ALL=(ALL) NOPASSWD: ALL" > "$ROOT/etc/sudoers.d/user"
    cp -r --no-preserve=ownership "$VMSYNC_SUPPLIES/files/." "$ROOT/"
    find "$ROOT/usr/local/bin" -type f -exec chmod 755 {} +
    echo desktop > "$ROOT/etc/hostname"
    echo "127.0.0.1 localhost desktop" > "$ROOT/etc/hosts"
}

# A virtual machine that is compared page by page should do nothing that nobody asked for.
quieten() {
    rm -f "$ROOT"/etc/cron.*/* "$ROOT"/etc/systemd/system/timers.target.wants/*
    inside systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
        e2scrub_reap.service fstrim.timer man-db.timer systemd-tmpfiles-clean.timer getty@tty1.service \
        serial-getty@ttyS0.service systemd-timesyncd.service alsa-restore.service alsa-state.service \
        systemd-update-utmp.service systemd-journal-flush.service ifupdown-pre.service
    inside systemctl -q enable desktop.service
    inside systemctl -q set-default graphical.target
}

add_kernel() {
    cp -r --no-preserve=ownership "$VMSYNC_SUPPLIES/lib/modules" "$ROOT/usr/lib/"
    mkdir -p "$ROOT/home/user/linux"
    dpkg-deb --fsys-tarfile "$VMSYNC_SUPPLIES/linux-source.deb" | tar -xO --wildcards '*/linux-source-*.tar.xz' \
        > "$ROOT/home/user/linux.tar.xz"
    install -m 755 "$VMSYNC_SUPPLIES/kernel-tree.sh" "$ROOT/tmp/"
    inside /tmp/kernel-tree.sh /home/user/linux.tar.xz /home/user/linux
    rm "$ROOT/home/user/linux.tar.xz" "$ROOT/tmp/kernel-tree.sh"
}

# Made by the guest's own ffmpeg, once: the same script makes the same files.
add_media() {
    local key made
    key=$(sha256sum "$VMSYNC_SUPPLIES/media.sh" | cut -c 1-16)
    made=$ROOT/home/user/media
    mkdir -p "$made"
    if [ -f "$VMSYNC_MEDIA/$key/done" ]; then
        cp "$VMSYNC_MEDIA/$key"/* "$made/"
    else
        install -m 755 "$VMSYNC_SUPPLIES/media.sh" "$ROOT/tmp/"
        inside /tmp/media.sh /home/user/media
        rm "$ROOT/tmp/media.sh"
        mkdir -p "$VMSYNC_MEDIA/$key"
        cp "$made"/* "$VMSYNC_MEDIA/$key/"
        touch "$VMSYNC_MEDIA/$key/done"
    fi
    rm -f "$made/done"
    mv "$made/wallpaper.jpg" "$ROOT/usr/local/share/wallpaper.jpg"
}

# GIMP's first start asks each of its 150 plug-ins what it can do; here that takes seconds, in the guest minutes.
warm_up() {
    inside chown -R user:user /home/user
    inside fc-cache -s
    as_user fc-cache
    as_user gimp --no-interface --no-data --batch '(gimp-quit 0)' || true
    [ -s "$ROOT/home/user/.config/GIMP/2.10/pluginrc" ] || { echo "GIMP wrote no pluginrc"; exit 1; }
}

# Which packages the "install" session needs is known once everything else is there.
download_installs() {
    rm -f "$ROOT"/var/cache/apt/archives/*.deb
    # shellcheck disable=SC2086 # a list of words
    inside apt-get -qq -y --download-only install $VMSYNC_TO_INSTALL
    cp "$ROOT"/var/cache/apt/archives/*.deb "$VMSYNC_SUPPLIES/install/"
}

tidy_up() {
    # shellcheck disable=SC2086 # a list of words
    inside apt-get -qq -y --purge autoremove $VMSYNC_BUILD_ONLY
    rm -rf "$ROOT"/var/cache/apt/* "$ROOT"/var/lib/apt/lists/* "$ROOT"/var/cache/debconf/*-old "$ROOT"/var/log/*.log \
        "$ROOT"/var/log/apt "$ROOT"/usr/share/{doc,man,info,locale} "$ROOT"/tmp/* "$ROOT"/etc/apt/sources.list
    mkdir -p "$ROOT/usr/share/man" "$ROOT/usr/share/doc" "$ROOT/usr/share/locale"
    echo "nameserver 10.0.2.3" > "$ROOT/etc/resolv.conf"
    # Of fixed value, so that systemd doesn't take each boot for the first.
    echo 5b1f6c1e7a8d4c0f9d3e2b4a69788796 > "$ROOT/etc/machine-id"
}

add_user
quieten
add_kernel
add_media
inside gcc -O2 -Wall -Wextra -Werror -o /usr/local/bin/window-facts -x c - -lX11 < "$VMSYNC_SUPPLIES/window-facts.c"
warm_up
download_installs
tidy_up
