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
