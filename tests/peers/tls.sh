#!/usr/bin/env bash
# The published command line over TLS, at a tenant's subdomain, with a pinned certificate (PIN); then the server's files
# CERT and KEY are replaced by NEXT_CERT and NEXT_KEY, whose pin is NEXT_PIN, while it runs.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
pinned() {
    rm -f "$WORK/operator/state/openclaw.json"
    PIN=$1
}

pair_operator
rpc health '{}' | holds 'j.ok === true' || die "health"
rpc sessions.list '{}' | holds 'Array.isArray(j.sessions)' || die "sessions"
rpc node.list '{}' | holds 'Array.isArray(j.nodes)' || die "nodes"
rpc config.get '{}' | holds 'typeof j.hash === "string"' || die "config"
operator devices list --json | holds 'j.paired.length === 1 && j.pending.length === 0' || die "devices"
operator agent --agent main --message "hello #one" --json >"$WORK/answer.json" || die "agent"
holds 'j.status === "ok" && JSON.stringify(j).includes("re: #one end")' <"$WORK/answer.json" || die "no final answer"

first=$PIN
pinned "$NEXT_PIN"
if rpc health '{}' >"$WORK/wrong.json"; then die "a certificate with another pin was accepted"; fi
# The two files are replaced one after the other, as people do.
cp "$NEXT_CERT" "$CERT"
cp "$NEXT_KEY" "$KEY"
until_holds 'j.ok === true' rpc health '{}'
pinned "$first"
if rpc health '{}' >"$WORK/old.json"; then die "the old certificate is still served"; fi
echo "tls: all steps passed"
