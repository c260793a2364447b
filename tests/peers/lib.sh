# Sourced by the scripts that drive the published OpenClaw client. Needs OPENCLAW_NODE, OPENCLAW_CLI, GATEWAY_URL,
# GATEWAY_TOKEN and WORK (an empty folder). Every profile has a home and a state folder of its own below WORK.
# Over TLS: PIN is the SHA-256 of the certificate, and APPROVE a command that approves a device and gets the request's id
# as last argument, because off loopback the command line is a device as well.

STEP=120
PIN=${PIN:-}
# Names below .localhost are this machine.
export NODE_OPTIONS="--import=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/localhost.mjs"

die() {
    echo "FAILED: $*" >&2
    [ ! -f "$WORK/last.err" ] || tail -5 "$WORK/last.err" >&2
    exit 1
}

# Ends what still runs: a number that was waited for may be somebody else's by now.
ended() {
    local pid running
    running=$(jobs -pr)
    for pid in $running; do kill "$pid" 2>/dev/null || true; done
    for pid in $running; do wait "$pid" 2>/dev/null || true; done
}
trap ended EXIT

# client PROFILE ARGUMENTS...: the real command line
client() {
    local home="$WORK/$1"
    shift
    mkdir -p "$home/state"
    env HOME="$home" OPENCLAW_STATE_DIR="$home/state" OPENCLAW_NO_AUTO_UPDATE=1 OPENCLAW_NO_RESPAWN=1 NO_COLOR=1 \
        timeout "$STEP" "$OPENCLAW_NODE" "$OPENCLAW_CLI" "$@"
}

# operator ARGUMENTS...: as the owner, pointed at the gateway by its configuration
operator() {
    local state="$WORK/operator/state"
    if [ ! -f "$state/openclaw.json" ]; then
        mkdir -p "$state"
        printf '{"gateway":{"mode":"remote","remote":{"url":"%s","token":"%s"%s}}}' "$GATEWAY_URL" "$GATEWAY_TOKEN" \
            "${PIN:+,\"tlsFingerprint\":\"$PIN\"}" >"$state/openclaw.json"
    fi
    client operator "$@" 2>"$WORK/last.err"
}

# pair_operator: makes the command line a device with all its scopes. A method nobody knows asks for all of them.
pair_operator() {
    local request
    operator system heartbeat last --json >/dev/null || true
    for _ in 1 2 3; do
        operator gateway call no.such.method --json --timeout 30000 >"$WORK/pairing.out" || true
        request=$(cat "$WORK/pairing.out" "$WORK/last.err" | grep -oE 'requestId: [0-9a-f-]{36}' | head -1 | cut -d' ' -f2) || true
        [ -n "$request" ] || return 0
        $APPROVE "$request" >/dev/null || die "approve the command line"
    done
    die "the command line was not let in: $(tail -2 "$WORK/last.err")"
}

# holds 'JavaScript over j': is it true of the JSON on standard input? Prints its value when it is a text.
holds() {
    "$OPENCLAW_NODE" -e '
        let text = "";
        process.stdin.on("data", (part) => (text += part)).on("end", () => {
            const start = text.search(/[\[{]/);
            const j = JSON.parse(text.slice(start));
            const value = new Function("j", `return (${process.argv[1]})`)(j);
            if (!value) { console.error(text.slice(0, 400)); process.exit(1); }
            if (typeof value === "string") console.log(value);
        });' "$1"
}

# rpc METHOD PARAMETERS
rpc() { operator gateway call "$1" --params "$2" --json --timeout 30000; }

# until_log FILE PATTERN: polls the log of a process that writes it
until_log() {
    local end=$((SECONDS + STEP))
    until grep -qE "$2" "$1" 2>/dev/null; do
        [ "$SECONDS" -lt "$end" ] || die "no /$2/ in $1: $(tail -3 "$1")"
        sleep 0.2
    done
}

# until_holds EXPRESSION COMMAND...: runs the command again and again until its JSON fits
until_holds() {
    local expression=$1 end=$((SECONDS + STEP))
    shift
    until "$@" >"$WORK/polled.json" && holds "$expression" <"$WORK/polled.json" 2>/dev/null; do
        [ "$SECONDS" -lt "$end" ] || die "never became: $expression; last: $(head -c 400 "$WORK/polled.json")"
        sleep 0.5
    done
}
