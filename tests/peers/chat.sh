#!/usr/bin/env bash
# One agent turn by the published command line: it waits for the final answer and prints it.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
operator gateway call health --json --timeout 30000 | holds 'j.ok === true' || die "health"
operator gateway call agent --expect-final --json --timeout 60000 \
    --params '{"message":"hello #one","sessionKey":"agent:main:main","idempotencyKey":"peer-1"}' >"$WORK/answer.json" || die "agent"
holds 'j.status === "ok" && j.result.payloads.length === 1' <"$WORK/answer.json" || die "no final answer"
rpc chat.history '{"sessionKey":"main"}' | holds 'j.messages.length === 2' || die "history"
rpc sessions.list '{}' | holds 'j.sessions.some((s) => s.key === "agent:main:main")' || die "sessions"
rpc models.list '{}' | holds 'Array.isArray(j.models)' || die "models"
if rpc no.such.method '{}' >"$WORK/unknown.json"; then die "an unknown method was answered"; fi
cat "$WORK/answer.json"
