#!/bin/bash
# Real services of a host, for tests, in namespaces of their own: they see neither this machine's bus nor its network,
# and end with this script.
#   scripts/host-services.sh sleep|network FOLDER
# Says "ready", or why not; then each line of its input is run beside the services, and "done STATUS" said after it,
# until its input ends. FOLDER is made, and removed at the end; the bus is at run/dbus/system_bus_socket in it, and what
# the services say in log.
set -euo pipefail
SCRIPTS=$(realpath "$(dirname "$0")")
# NetworkManager isn't installed, for that would start it on this machine, but unpacked here.
readonly SCRIPTS NETWORK=$SCRIPTS/../.build/networkmanager
readonly NETWORK_PACKAGES="network-manager libnm0 libndp0
    dnsmasq-base libnetfilter-conntrack3 libnfnetlink0 libnftables1 libnftnl11"

fail() { echo "failed: $*"; exit 1; }

# shellcheck disable=SC2086 # a list of words
unpack_network() {
    mkdir -p "${NETWORK%/*}"
    # One of several that come here at once; the others wait.
    exec {lock}> "$NETWORK.lock"
    flock "$lock"
    if [ -e "$NETWORK/complete" ]; then
        flock --unlock "$lock"
        return
    fi
    rm -rf "$NETWORK"
    mkdir -p "$NETWORK/packages"
    pushd "$NETWORK/packages" > /dev/null
    local download="apt-get -o APT::Sandbox::User=root download -qq $NETWORK_PACKAGES"
    { $download || { apt-get update -qq && $download; }; } > /dev/null || fail "can't fetch $NETWORK_PACKAGES"
    for package in *.deb; do dpkg-deb --extract "$package" "$NETWORK"; done
    popd > /dev/null
    rm -rf "$NETWORK/packages"
    touch "$NETWORK/complete"
    flock --unlock "$lock"
}

if [ "${1-}" != --inside ]; then
    [ $# -eq 2 ] || { echo "usage: host-services.sh sleep|network FOLDER" >&2; exit 2; }
    [ "$(id -u)" -eq 0 ] || fail "namespaces and services need root"
    case "$1" in
        sleep) ;;
        network) unpack_network ;;
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
