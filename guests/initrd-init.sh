#!/bin/sh
# /init of the initrd: load the modules in the order of /modules, mount the root disk, go there.
# Without /proc the shell does not find its own commands, so at first and at last busybox is called by its name.
busybox mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
# shellcheck disable=SC1091 # OPTIONS of the root disk's mount, and INIT
. /settings
while read -r module; do
    insmod "/lib/$module" || echo "vmsync-guest error=insmod $module"
done < /modules

# A device on a slow or lately connected disk may take a moment to appear.
tries=0
until [ -b /dev/vda ] || [ $tries -ge 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
mount -t ext4 -o "$OPTIONS" /dev/vda /root || {
    echo "vmsync-guest error=no-root-disk"
    exec poweroff -f
}
for directory in sys dev proc; do
    mount -o move /$directory /root/$directory
done
exec /bin/busybox switch_root /root "$INIT"
