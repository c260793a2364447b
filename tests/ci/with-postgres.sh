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
port=$(( 20000 + RANDOM % 20000 ))
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
"${as[@]}" "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 \
    -c fsync=off -c max_connections=500 >"$dir/data/server.log" 2>&1 &
server=$!
stop() {
    kill -INT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    rm -rf "$dir"
}
trap stop EXIT
for _ in $(seq 1 300); do
    "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" && break
    kill -0 "$server" 2>/dev/null || { cat "$dir/data/server.log"; exit 1; }
    sleep 0.1
done
cd "$OLDPWD"
export CLAW_TEST_DATABASE=postgres CLAW_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/"
"$@"
