#!/usr/bin/env bash
# The published terminal interface in a terminal of its own: refused, approved (APPROVE gets the request's id), and then
# a message and its answer on the screen.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
screen="$WORK/screen.log"
keys="$WORK/keys"
home="$WORK/tui"
mkdir -p "$home/state"
mkfifo "$keys"
# Held open, so that the terminal does not see an end of its input.
exec 9<>"$keys"
env HOME="$home" OPENCLAW_STATE_DIR="$home/state" OPENCLAW_NO_AUTO_UPDATE=1 OPENCLAW_NO_RESPAWN=1 TERM=xterm-256color COLUMNS=110 LINES=40 \
    SHELL=/bin/sh script -qfc "exec '$OPENCLAW_NODE' '$OPENCLAW_CLI' tui --url '$GATEWAY_URL' --token '$GATEWAY_TOKEN'" "$screen" <"$keys" >/dev/null 2>&1 &

until_log "$screen" 'requestId: [0-9a-f-]{36}'
request=$(grep -oaE 'requestId: [0-9a-f-]{36}' "$screen" | head -1 | cut -d' ' -f2)
$APPROVE "$request" >/dev/null || die "approve the terminal's device"
until_log "$screen" 'connected \| idle'
printf '#one #two' >&9
until_log "$screen" '#one #two'
printf '\r' >&9
until_log "$screen" 're: #one #two end'
printf '\003\003' >&9
echo "tui: all steps passed"
