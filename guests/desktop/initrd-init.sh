#!/bin/sh
# /init of the initrd: load the modules in the order of /modules, mount the root disk, go there.
busybox mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
while read -r module; do
    insmod "/lib/$module" || echo "vmsync-desktop error=insmod $module"
done < /modules
tries=0
until [ -b /dev/vda ] || [ $tries -ge 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
mount -t ext4 -o rw,noatime,discard /dev/vda /root || {
    echo "vmsync-desktop error=no-root-disk"
    exec poweroff -f
}
for directory in sys dev proc; do
    mount -o move /$directory /root/$directory
done
exec /bin/busybox switch_root /root /sbin/init
