#!/bin/bash
# Real services of a host, for tests, in namespaces of their own: they see neither this machine's bus nor its network,
# and end with this script.
#   scripts/host-services.sh sleep|network|neighbours FOLDER
# Says "ready", or why not; then each line of its input is run beside the services, and "done STATUS" said after it,
# until its input ends. FOLDER is made, and removed at the end; the bus is at run/dbus/system_bus_socket in it, and what
# the services say in log.
set -euo pipefail
SCRIPTS=$(realpath "$(dirname "$0")")
# NetworkManager and Avahi aren't installed, for that would start them on this machine, but unpacked here.
readonly SCRIPTS NETWORK=$SCRIPTS/../.build/networkmanager NEIGHBOURS=$SCRIPTS/../.build/avahi
readonly NETWORK_PACKAGES="network-manager libnm0 libndp0
    dnsmasq-base libnetfilter-conntrack3 libnfnetlink0 libnftables1 libnftnl11"
readonly NEIGHBOURS_PACKAGES="avahi-daemon libavahi-common3 libavahi-core7 libdaemon0"

fail() { echo "failed: $*"; exit 1; }

# Unpacks packages into a folder.
#   unpack FOLDER "PACKAGE …"
# shellcheck disable=SC2086 # a list of words
unpack() {
    local folder=$1 packages=$2
    mkdir -p "${folder%/*}"
    # One of several that come here at once; the others wait.
    exec {lock}> "$folder.lock"
    flock "$lock"
    if [ -e "$folder/complete" ]; then
        flock --unlock "$lock"
        return
    fi
    rm -rf "$folder"
    mkdir -p "$folder/packages"
    pushd "$folder/packages" > /dev/null
    local download="apt-get -o APT::Sandbox::User=root download -qq $packages"
    { $download || { apt-get update -qq && $download; }; } > /dev/null || fail "can't fetch $packages"
    for package in *.deb; do dpkg-deb --extract "$package" "$folder"; done
    popd > /dev/null
    rm -rf "$folder/packages"
    touch "$folder/complete"
    flock --unlock "$lock"
}

if [ "${1-}" != --inside ]; then
    [ $# -eq 2 ] || { echo "usage: host-services.sh sleep|network|neighbours FOLDER" >&2; exit 2; }
    [ "$(id -u)" -eq 0 ] || fail "namespaces and services need root"
    case "$1" in
        sleep) ;;
        network) unpack "$NETWORK" "$NETWORK_PACKAGES" ;;
        neighbours) unpack "$NEIGHBOURS" "$NEIGHBOURS_PACKAGES" ;;
        *) fail "there are no services for $1" ;;
    esac
    # Not of processes: logind wants to know whoever asks it.
    exec unshare --mount --net --uts "$0" --inside "$@"
fi
readonly KIND=$2 FOLDER=$3

need() { for program in "$@"; do command -v "$program" > /dev/null || fail "$program is not installed"; done; }

# Waits until a command succeeds, ten seconds at most.
await() {
    local what=$1
    shift
    for _ in $(seq 200); do
        if "$@" > /dev/null 2>&1; then return; fi
        sleep 0.05
    done
    fail "$what did not start: $(tail -n 3 "$FOLDER/log" | tr '\n' ' ')"
}

has_owner() {
    busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus NameHasOwner s "$1" | grep -q true
}

pids=()
# Runs a service beside us; its pid is in $pid.
serve() {
    "$@" < /dev/null >> "$FOLDER/log" 2>&1 &
    pid=$!
    pids+=("$pid")
}

# As a crash. They may be stopped, or have been started with every other signal blocked.
stop() {
    kill -KILL "$1" 2> /dev/null || true
    wait "$1" 2> /dev/null || true
}

finish() {
    status=$?
    trap - EXIT INT TERM
    for pid in "${pids[@]}"; do stop "$pid"; done
    # With the namespace of the router, which is mounted in it.
    umount --recursive --lazy /run || true
    rm -rf "$FOLDER"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

start_bus() {
    rm -f /run/dbus/pid /run/dbus/system_bus_socket
    serve dbus-daemon --config-file="$FOLDER/bus.conf" --nofork --nopidfile
    bus=$pid
    await "the bus" busctl status org.freedesktop.DBus
}

# MARK: Sleep

start_logind() {
    serve /lib/systemd/systemd-logind
    logind=$pid
    await logind has_owner org.freedesktop.login1
}

start_sleep() {
    mkdir -p /run/systemd/{sessions,seats,users,inhibit,shutdown}
    # Whatever the kernel can: logind asks this file before it suspends.
    echo "freeze mem" > "$FOLDER/state"
    mount --bind "$FOLDER/state" /sys/power/state
    start_login
}

start_login() {
    serve "$SCRIPTS/fake-systemd.py"
    systemd=$pid
    await "the fake systemd" has_owner org.freedesktop.systemd1
    start_logind
}

# As after a crash of the bus: all that was on it starts anew.
restart_bus() {
    stop "$bus"
    stop "$logind"
    stop "$systemd"
    start_bus
    start_login
}

# Calls logind.
login() { busctl --timeout=20 call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager "$@"; }

# Sends everybody on the bus a signal that looks like logind's; whoever believes it goes to sleep.
forge_sleep() {
    for name in $(busctl list --unique --no-legend | awk '{ print $1 }'); do
        dbus-send --system --dest="$name" --type=signal /org/freedesktop/login1 \
            org.freedesktop.login1.Manager.PrepareForSleep "boolean:$1"
    done
}

# MARK: Network

# A router in a namespace of its own, as DHCP server and gateway 10.9.0.2, on the other end of our cable `va`.
start_network() {
    need ip
    for folder in /var/lib /etc/NetworkManager; do
        if [ -d "$folder" ]; then mount -t tmpfs tmpfs "$folder"; fi
    done
    mkdir -p /run/netns /var/lib/NetworkManager "$FOLDER/connections"
    # Of this network namespace, and read-only: then NetworkManager doesn't wait for udev.
    mount -t sysfs -o ro sysfs /sys
    ip link set lo up
    ip netns add router
    ip link add va type veth peer name vb netns router
    ip netns exec router ip addr add 10.9.0.2/24 dev vb
    ip netns exec router ip link set vb up
    # shellcheck disable=SC2119 # without any
    dhcp
    cat > "$FOLDER/connections/cable" << END
[connection]
id=The cable
uuid=11111111-2222-3333-4444-555555555555
type=ethernet
interface-name=va
[ipv4]
method=auto
[ipv6]
method=disabled
END
    chmod 600 "$FOLDER/connections/cable"
    cat > "$FOLDER/NetworkManager.conf" << END
[main]
plugins=keyfile
dns=none
systemd-resolved=false
[keyfile]
path=$FOLDER/connections
[device]
match-device=interface-name:va
managed=1
END
    start_manager
}

# Starts the router's DHCP server anew, with options of dnsmasq's.
# shellcheck disable=SC2120 # tests give some
dhcp() {
    if [ -n "${dhcp_pid-}" ]; then stop "$dhcp_pid"; fi
    serve ip netns exec router dnsmasq --no-daemon --port=0 --conf-file=/dev/null --interface=vb --bind-interfaces \
        --dhcp-range=10.9.0.50,10.9.0.60,2m --dhcp-option=3,10.9.0.2 --no-ping --user=root --group=root \
        --pid-file=/run/dnsmasq.pid --dhcp-leasefile=/run/dnsmasq.leases "$@"
    dhcp_pid=$pid
}

start_manager() {
    serve NetworkManager --no-daemon --config="$FOLDER/NetworkManager.conf" --config-dir=/run/none \
        --intern-config=/run/none/state
    # shellcheck disable=SC2034 # tests stop it
    manager=$pid
    await NetworkManager has_owner org.freedesktop.NetworkManager
    await "the network" eval "ip route | grep -q default"
}

# MARK: Neighbours

# Another host on the other end of our cable `na`, with a bus of its own at neighbour/bus in the folder.
start_neighbours() {
    need ip
    mkdir -p /run/netns /run/avahi-daemon "$FOLDER/neighbour"
    chmod 755 "$FOLDER/neighbour"
    # Avahi wants a user of its own, though it stays what it is.
    for file in passwd group; do
        cp "/etc/$file" "$FOLDER/$file"
        mount --bind "$FOLDER/$file" "/etc/$file"
    done
    echo "avahi:x:65533:65533::/:/usr/sbin/nologin" >> /etc/passwd
    echo "avahi:x:65533:" >> /etc/group
    ip link set lo up
    ip netns add neighbour
    ip link add na type veth peer name nb netns neighbour
    ip addr add 10.8.0.1/24 dev na
    ip link set na up
    ip netns exec neighbour ip addr add 10.8.0.2/24 dev nb
    ip netns exec neighbour ip link set nb up
    local cable=na
    for place in here neighbour; do
        cat > "$FOLDER/avahi-$place.conf" << END
[server]
host-name=$place
use-ipv4=yes
use-ipv6=no
allow-interfaces=$cable
enable-dbus=yes
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
[rlimits]
END
        cable=nb
    done
    start_avahi
    serve dbus-daemon --config-file="$FOLDER/bus.conf" --nofork --nopidfile "--address=unix:path=$FOLDER/neighbour/bus"
    export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$FOLDER/neighbour/bus"
    await "the neighbour's bus" busctl status org.freedesktop.DBus
    # shellcheck disable=SC2016 # inside
    serve ip netns exec neighbour sh -c 'mount -t tmpfs tmpfs /run/avahi-daemon && exec "$@"' sh \
        avahi-daemon "--file=$FOLDER/avahi-neighbour.conf" --no-drop-root --no-chroot --no-rlimits
    await "the neighbour's Avahi" has_owner org.freedesktop.Avahi
    unset DBUS_SYSTEM_BUS_ADDRESS
}

start_avahi() {
    serve avahi-daemon "--file=$FOLDER/avahi-here.conf" --no-drop-root --no-chroot --no-rlimits
    avahi=$pid
    await Avahi has_owner org.freedesktop.Avahi
}

# As after a crash of it.
# shellcheck disable=SC2317 # a test calls it
restart_avahi() {
    stop "$avahi"
    rm -f /run/avahi-daemon/pid
    start_avahi
}

# MARK: Run

# Our own, but where others see its sockets.
mkdir -p "$FOLDER/run/dbus"
# The bus runs as another user, which must come to its socket.
chmod 755 "$FOLDER"
mount --bind "$FOLDER/run" /run
need busctl dbus-daemon
policies=
if [ "$KIND" = network ]; then
    policies="<includedir>$NETWORK/usr/share/dbus-1/system.d</includedir>"
    export PATH="$NETWORK/usr/sbin:$NETWORK/usr/bin:$PATH"
    export LD_LIBRARY_PATH=$NETWORK/usr/lib/x86_64-linux-gnu
elif [ "$KIND" = neighbours ]; then
    policies="<includedir>$NEIGHBOURS/usr/share/dbus-1/system.d</includedir>"
    export PATH="$NEIGHBOURS/usr/sbin:$PATH"
    export LD_LIBRARY_PATH=$NEIGHBOURS/usr/lib/x86_64-linux-gnu
fi
cat > "$FOLDER/bus.conf" << END
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><include>/usr/share/dbus-1/system.conf</include>$policies</busconfig>
END
start_bus
"start_$KIND"
echo ready
while read -r line; do
    status=0
    eval "$line" >> "$FOLDER/log" 2>&1 < /dev/null || status=$?
    echo "done $status"
done
