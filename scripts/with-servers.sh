#!/bin/bash
# Runs a command beside real servers of the kinds that vmsync can store in, and stops them when it ends:
#   scripts/with-servers.sh COMMAND…
# PostgreSQL, on a socket in a folder of its own, in VMSYNC_TEST_POSTGRESQL; an S3 server on loopback in VMSYNC_TEST_S3.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { echo "usage: with-servers.sh COMMAND…" >&2; exit 2; }

# The S3 server comes from PyPI, with all that it needs, into a folder of its own.
readonly SWIFT=swift==2.38.3
readonly VENV=.build/s3-server

# Short, because the path of PostgreSQL's socket has at most 107 bytes.
folder=$(mktemp -d /tmp/vmsync-servers-XXXXXX)
pids=()
finish() {
    status=$?
    trap - EXIT INT TERM
    # To PostgreSQL the first means: at once, whoever is still connected. Background jobs of a script ignore it otherwise.
    for signal in INT TERM; do
        for pid in "${pids[@]}"; do kill -"$signal" "$pid" 2> /dev/null || true; done
    done
    for pid in "${pids[@]}"; do wait "$pid" 2> /dev/null || true; done
    rm -rf "$folder"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# PostgreSQL refuses to run as root.
as_postgres=()
if [ "$(id -u)" -eq 0 ]; then as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups); fi

start_postgresql() {
    local bin data="$folder/postgresql"
    bin=$(pg_config --bindir)
    mkdir "$data"
    chmod 711 "$folder"
    if [ "$(id -u)" -eq 0 ]; then chown postgres "$data"; fi
    "${as_postgres[@]}" "$bin/initdb" --pgdata "$data/data" --username vmsync --auth trust --no-sync > "$folder/initdb.log"
    # Nothing here must survive a power loss.
    "${as_postgres[@]}" "$bin/postgres" -D "$data/data" -c listen_addresses= -c unix_socket_directories="$data" \
        -c fsync=off -c max_connections=200 > "$folder/postgresql.log" 2>&1 &
    pids+=($!)
    for _ in $(seq 300); do
        if "$bin/pg_isready" --quiet --host "$data" --username vmsync --dbname postgres; then
            export VMSYNC_TEST_POSTGRESQL="postgresql:///postgres?host=$data&user=vmsync"
            return
        fi
        sleep 0.1
    done
    echo "with-servers: PostgreSQL did not start:" >&2
    cat "$folder/postgresql.log" >&2
    exit 1
}

start_s3() {
    if [ ! -e "$VENV/complete" ]; then
        echo "with-servers: fetching the S3 server for tests (once, 15 MB)"
        rm -rf "$VENV"
        python3 -m venv "$VENV"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check "$SWIFT"
        touch "$VENV/complete"
    fi
    mkdir "$folder/s3"
    "$VENV/bin/python" scripts/s3-server.py "$folder/s3" > "$folder/s3.address" 2> "$folder/s3.log" &
    pids+=($!)
    for _ in $(seq 300); do
        if [ -s "$folder/s3.address" ]; then
            VMSYNC_TEST_S3=$(cat "$folder/s3.address")
            export VMSYNC_TEST_S3
            return
        fi
        sleep 0.1
    done
    echo "with-servers: the S3 server did not start:" >&2
    cat "$folder/s3.log" >&2
    exit 1
}

start_postgresql
start_s3
"$@"
