#!/usr/bin/env bash
# A node of a release that speaks protocol 3 and knows no path (OPENCLAW_V3_CLI), approved by today's command line:
# paired, called, gone, back with its device token. Then the command line of that release, which is told why not.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
[[ $GATEWAY_URL =~ ^ws://([^:/]+):([0-9]+)/ ]] || die "GATEWAY_URL is not ws://host:port/path"
endpoint=(--host "${BASH_REMATCH[1]}" --port "${BASH_REMATCH[2]}")
log="$WORK/node.log"

# start TOKEN: the old node in the background; an empty token leaves it to the stored one
start() {
    local home="$WORK/node"
    mkdir -p "$home/state"
    : >"$log"
    env HOME="$home" OPENCLAW_STATE_DIR="$home/state" OPENCLAW_NO_RESPAWN=1 NO_COLOR=1 ${1:+OPENCLAW_GATEWAY_TOKEN="$1"} \
        "$OPENCLAW_NODE" "$OPENCLAW_V3_CLI" node run "${endpoint[@]}" --display-name old-node >>"$log" 2>&1 &
    node=$!
}
stop() { kill "$node" && wait "$node" 2>/dev/null || true; }
connected() { until_holds "j.nodes.some((n) => n.displayName === 'old-node' && n.connected === $1)" operator nodes status --json; }

start "$GATEWAY_TOKEN"
until_holds "j.pending.some((p) => p.displayName === 'old-node')" operator devices list --json
request=$(holds "j.pending.find((p) => p.displayName === 'old-node').requestId" <"$WORK/polled.json")
operator devices approve "$request" --json >/dev/null || die "approve the device"
# A node of then does not come back by itself from "pairing required".
stop
start "$GATEWAY_TOKEN"
connected true
device=$(holds "j.nodes.find((n) => n.displayName === 'old-node').nodeId" <"$WORK/polled.json")
until_holds "(Array.isArray(j) ? j : j.pending).some((p) => p.nodeId === '$device')" operator nodes pending --json
surface=$(holds "(Array.isArray(j) ? j : j.pending).find((p) => p.nodeId === '$device').requestId" <"$WORK/polled.json")
operator nodes approve "$surface" --json >/dev/null || die "approve the surface"
operator nodes describe --node "$device" --json |
    holds "j.version === '2026.3.13' && ['system.run', 'system.which'].every((c) => j.commands.includes(c))" || die "describe"
which_sh() {
    operator nodes invoke --node "$device" --command system.which --params '{"bins":["sh"]}' --json |
        holds 'j.ok === true && j.payload.bins.sh.endsWith("/sh")'
}
which_sh || die "system.which"

stop
connected false
start ""
connected true
which_sh || die "system.which after the reconnect"

# Operators have to be of today, here as at the original.
home="$WORK/old-operator"
mkdir -p "$home/state"
if env HOME="$home" OPENCLAW_STATE_DIR="$home/state" OPENCLAW_NO_RESPAWN=1 NO_COLOR=1 timeout "$STEP" "$OPENCLAW_NODE" "$OPENCLAW_V3_CLI" \
    gateway call health --url "$GATEWAY_URL" --token "$GATEWAY_TOKEN" --json >"$WORK/old.out" 2>&1; then
    die "an operator of protocol 3 was let in"
fi
grep -q 'protocol mismatch' "$WORK/old.out" || die "the old command line was not told why: $(tail -3 "$WORK/old.out")"
echo "node v3: all steps passed"
