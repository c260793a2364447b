# Sourced by the recipes: stages with their times, one line each at the end.

CLAW_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/clawcentral-test"
export PATH="$CLAW_CACHE/cargo/bin:$PATH"
STAGES=()
FAILED=()

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

# watch NAME COMMAND...: a suite that has not run green from end to end yet. It has five minutes; a failure is shown in
# the table and does not fail the run. Turn it into a `stage` as soon as it is green.
watch() {
    local name=$1 start=$SECONDS status=0
    shift
    echo
    echo "=== $name (watched)"
    if [ "$(type -t "$1")" = function ]; then
        export -f "$1"
        timeout --kill-after=20 300 bash -c "source tests/ci/lib.sh; $1" || status=$?
    else
        timeout --kill-after=20 300 "$@" || status=$?
    fi
    STAGES+=("$(printf '%4d s  %s' $((SECONDS - start)) "$name")$([ "$status" -eq 0 ] || echo "  watched, failed ($status)")")
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
