#!/usr/bin/env bash
# The published headless node: refused, paired, approved, called, renamed, gone, back with its device token, removed.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
[[ $GATEWAY_URL =~ ^wss?://([^:/]+):([0-9]+)(/.*)$ ]] || die "GATEWAY_URL is not ws://host:port/path"
endpoint=(--host "${BASH_REMATCH[1]}" --port "${BASH_REMATCH[2]}" --context-path "${BASH_REMATCH[3]}")
if [ -n "$PIN" ]; then
    endpoint+=(--tls --tls-fingerprint "$PIN")
    pair_operator
fi
log="$WORK/node.log"

# start TOKEN ARGUMENTS...: the node in the background; an empty token leaves it to the stored one
start() {
    local token=$1 home="$WORK/node"
    shift
    mkdir -p "$home/state"
    : >"$log"
    env HOME="$home" OPENCLAW_STATE_DIR="$home/state" OPENCLAW_NO_AUTO_UPDATE=1 OPENCLAW_NO_RESPAWN=1 NO_COLOR=1 \
        ${token:+OPENCLAW_GATEWAY_TOKEN="$token"} "$OPENCLAW_NODE" "$OPENCLAW_CLI" "$@" >>"$log" 2>&1 &
    node=$!
}
stop() { kill "$node" && wait "$node" 2>/dev/null || true; }

start "$GATEWAY_TOKEN" node run "${endpoint[@]}" --display-name peer-node
until_log "$log" 'PAIRING_REQUIRED|pairing required|gateway connected'
grep -q 'gateway connected' "$log" && die "a new device was let in without approval"
device=$(client node node identity --json 2>/dev/null | holds 'j.deviceId') || die "identity"
request=$(operator devices list --json | holds "j.pending.find((p) => p.deviceId === '$device').requestId") || die "pending device"
operator devices approve "$request" --json >/dev/null || die "approve the device"
# Told to wait and retry, the node comes back by itself; another server's node has to be started again.
for _ in $(seq 1 75); do grep -q 'gateway connected' "$log" && break; sleep 0.2; done
if ! grep -q 'gateway connected' "$log"; then
    [ "${RESTART_NODE:-0}" = 1 ] || die "the node did not reconnect after its approval"
    stop
    start "$GATEWAY_TOKEN" node run "${endpoint[@]}" --display-name peer-node
    until_log "$log" 'gateway connected'
fi

until_holds "(Array.isArray(j) ? j : j.pending).some((p) => p.nodeId === '$device')" operator nodes pending --json
surface=$(holds "(Array.isArray(j) ? j : j.pending).find((p) => p.nodeId === '$device').requestId" <"$WORK/polled.json")
operator nodes approve "$surface" --json >/dev/null || die "approve the surface"
until_holds "j.nodes.some((n) => n.nodeId === '$device' && n.connected === true)" operator nodes status --json
operator nodes describe --node "$device" --json | holds "['system.run', 'system.which'].every((c) => j.commands.includes(c))" || die "describe"

operator nodes invoke --node "$device" --command system.which --params '{"bins":["sh"]}' --json |
    holds 'j.ok === true && j.payload.bins.sh.endsWith("/sh")' || die "system.which"
invoke() { rpc node.invoke "{\"nodeId\":\"$device\",\"command\":\"$1\",\"params\":$2,\"idempotencyKey\":\"$RANDOM-$1\"}"; }
invoke system.run '{"command":["sh","-c","echo from-the-node"]}' |
    holds 'j.ok === true && j.payload.exitCode === 0 && j.payload.stdout.trim() === "from-the-node"' || die "system.run"
invoke system.run '{"command":["sh","-c","exit 3"]}' | holds 'j.payload.exitCode === 3' || die "exit code"
if invoke camera.snap '{}' >"$WORK/camera.json"; then die "a command the node does not have was accepted"; fi
operator approvals get --node "$device" --json | holds 'j !== undefined' || die "exec approvals of the node"
operator nodes rename --node "$device" --name peer-renamed --json >/dev/null || die "rename"
operator nodes status --json | holds "j.nodes.some((n) => n.nodeId === '$device' && n.displayName === 'peer-renamed')" || die "renamed"

stop
until_holds "j.nodes.some((n) => n.nodeId === '$device' && n.connected === false)" operator nodes status --json
if invoke system.which '{"bins":["sh"]}' >"$WORK/offline.json"; then die "an offline node was called"; fi
start "" node run
until_log "$log" 'gateway connected'
operator nodes invoke --node "$device" --command system.which --params '{"bins":["sh"]}' --json | holds 'j.ok === true' || die "after the reconnect"

operator nodes remove --node "$device" --json >/dev/null || die "remove"
until_log "$log" 'gateway closed|AUTH_DEVICE_TOKEN_MISMATCH|device token mismatch|PAIRING_REQUIRED'
echo "node: all steps passed"
