#!/usr/bin/env bash
# The tests that need peers nobody here wrote: the published OpenClaw clients and schemas, OpenAI's clients, the reference MCP server, and Chromium. Ignored by a plain
# `cargo nextest run`, so that it needs neither.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/ci/lib.sh
exports=$(bash tests/peers/install.sh openclaw openai mcp nginx)
eval "$exports"
[ -d admin-ui/node_modules/playwright ] || (cd admin-ui && npm ci --silent)
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)}
export CHROMIUM
cargo nextest run --workspace --run-ignored ignored-only --no-fail-fast -E 'binary(it) & test(/^peers/)'
