#!/bin/sh
# /etc/rc of the small guest: what stands around the witness. It ends by becoming the witness, process 1.
export PATH=/bin:/sbin HOME=/root TERM=linux
mount -t tmpfs none /tmp
hostname vmsync-small

# QEMU's user-mode network; a guest without a card goes on without.
if [ -d /sys/class/net/eth0 ]; then
    ip link set lo up
    ip link set eth0 up
    ip addr add 10.0.2.15/24 dev eth0
    ip route add default via 10.0.2.2
fi

# Through the agent the host sets the clock after a pause.
for port in /sys/class/virtio-ports/*; do
    if [ "$(cat "$port/name" 2> /dev/null)" = org.qemu.guest_agent.0 ]; then
        qemu-ga -m virtio-serial -p "/dev/${port##*/}" -t /tmp > /dev/null 2>&1 &
    fi
done

# A shell for a person at the screen; the serial console is the witness's.
if [ -c /dev/tty1 ]; then
    (while :; do setsid -c sh -l < /dev/tty1 > /dev/tty1 2>&1; done) &
fi
exec witness
