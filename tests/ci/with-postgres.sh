#!/usr/bin/env bash
# Runs a command beside a throw-away PostgreSQL on a free port: with-postgres.sh cargo nextest run …
# The command finds CLAW_TEST_DATABASE=postgres and the cluster's URL in CLAW_TEST_POSTGRES.
set -euo pipefail
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
dir=$(mktemp -d)
as=()
if [ "$(id -u)" -eq 0 ]; then # PostgreSQL refuses to run as root
    chown postgres "$dir"
    as=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi
cd "$dir"
"${as[@]}" "$bin/initdb" -A trust -U postgres -E UTF8 --locale=C --no-sync -D "$dir/data" >"$dir/initdb.log" || { cat "$dir/initdb.log"; exit 1; }
server=
stop() {
    [ -z "$server" ] || kill -INT "$server" 2>/dev/null || true
    wait
    rm -rf "$dir"
}
trap stop EXIT

# start PORT: true once the server takes connections there, false when it ended before.
start() {
    "${as[@]}" "$bin/postgres" -D "$dir/data" -p "$1" -k "$dir" -c listen_addresses=127.0.0.1 \
        -c fsync=off -c wal_level=minimal -c max_wal_senders=0 -c max_connections=500 >"$dir/data/server.log" 2>&1 &
    server=$!
    until "$bin/pg_isready" -q -h "$dir" -p "$1"; do
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.1
    done
}

# Nobody can tell from outside whether a port is free: a connection that left from it, even long closed, still holds it.
# So the server is asked, below the ports of outgoing connections first.
outgoing=$(cut -f1 /proc/sys/net/ipv4/ip_local_port_range 2>/dev/null || echo 32768)
[ "$outgoing" -gt 20000 ] || outgoing=20000
tries=20
until start $((port = 10000 + RANDOM % (outgoing - 10000))); do
    cat "$dir/data/server.log" >&2
    [ $((tries -= 1)) -gt 0 ] || exit 1
done
cd "$OLDPWD"
export CLAW_TEST_DATABASE=postgres CLAW_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/"
"$@"
