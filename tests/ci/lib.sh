# Sourced by the recipes: stages with their times, one line each at the end.

CLAW_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/clawcentral-test"
export PATH="$CLAW_CACHE/cargo/bin:$PATH"
STAGES=()

FAILED=()

# Tests make hundreds of databases that nobody keeps: where there is memory for them, a busy disk is left out of it.
temporary_in_memory() {
    local room memory
    [ -w /dev/shm ] || return 0
    room=$(df --output=avail -k /dev/shm | tail -1)
    memory=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
    [ "$room" -gt $((6 << 20)) ] && [ "$memory" -gt $((10 << 20)) ] || return 0
    TMPDIR=$(mktemp -d /dev/shm/clawcentral-tests.XXXXXX)
    export TMPDIR
    chmod 755 "$TMPDIR"
    trap 'rm -rf "$TMPDIR"' EXIT
}

# stage NAME COMMAND...: runs it, keeps the time, goes on after a failure so that one run shows all of them.
stage() {
    local name=$1 start=$SECONDS status=0
    shift
    echo
    echo "=== $name"
    "$@" || status=$?
    local line
    line=$(printf '%4d s  %s' $((SECONDS - start)) "$name")
    if [ "$status" -ne 0 ]; then
        line="$line  FAILED ($status)"
        FAILED+=("$name")
    fi
    STAGES+=("$line")
}

# must NAME COMMAND...: a stage without which the rest makes no sense.
must() {
    stage "$@"
    [ ${#FAILED[@]} -eq 0 ] || finish
}

finish() {
    echo
    echo "=== times"
    printf '%s\n' "${STAGES[@]}"
    printf '%4d s  total\n' "$SECONDS"
    if [ ${#FAILED[@]} -gt 0 ]; then
        printf 'failed: %s\n' "${FAILED[@]}"
        exit 1
    fi
    exit 0
}
