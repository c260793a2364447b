#!/usr/bin/env bash
# `make test`: every check of the repository, in the order in which a failure is cheapest to learn about.
set -uo pipefail
cd "$(dirname "$0")/../.."
source tests/ci/lib.sh

# Only ring may do cryptography: nothing that builds AWS-LC, OpenSSL or needs cmake.
crypto_guard() {
    local lock
    for lock in Cargo.lock tests/bench/Cargo.lock; do
        if grep -nE '^name = "(aws-lc-rs|aws-lc-sys|openssl-sys|native-tls|cmake)"$' "$lock"; then
            echo "$lock brings a second cryptography library" >&2
            return 1
        fi
    done
}

# Nothing in the tree may depend on where it was written or on one registry's address.
tree_guard() {
    if git grep -nE '"resolved": *"http' -- '*package-lock.json'; then
        echo "a lock file holds registry addresses: npm's omit-lockfile-registry-resolved is off" >&2
        return 1
    fi
}

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet; }
lint() { cargo clippy --workspace --all-targets --quiet -- -D warnings; }
bench_tools() {
    local flags=(--manifest-path tests/bench/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}/bench" --quiet)
    cargo fmt --manifest-path tests/bench/Cargo.toml --check &&
        cargo clippy "${flags[@]}" --all-targets -- -D warnings && cargo test "${flags[@]}"
}
on_sqlite() { cargo nextest run --workspace --no-fail-fast --status-level fail; }
# Sessions that sleep and crash all the time: 40,000 turns, none lost, doubled or out of order.
many_turns() {
    CLAW_TURNS=200 cargo nextest run --workspace --status-level fail \
        -E 'test(thousands_of_turns_over_sleeping_and_crashing_sessions)'
}
on_postgres() {
    # What asks PostgreSQL; the rest would only run twice.
    local unit='config::|conversation::|db::|gateway::approvals|gateway::tests|supervisor::lease'
    bash tests/ci/with-postgres.sh cargo nextest run --workspace --no-fail-fast --status-level fail \
        -E "(binary(it) - test(/^(tidy|signature_vectors)/)) | (package(claw-actors) & test(/^($unit)/)) | package(claw-migration)"
}
signature_vectors() { cargo nextest run --workspace --no-capture -E 'test(signature_vectors)'; }
ui() { (cd admin-ui && { [ -d node_modules ] || npm ci --silent; } && npm run --silent check && npm test --silent && npm run --silent build -- --outDir "$CLAW_CACHE/ui-dist" --emptyOutDir); }
ui_browser() { (cd admin-ui && CHROMIUM="$(command -v chromium)" npm run --silent test:browser); }
ui_pages() { (cd admin-ui && CHROMIUM="$(command -v chromium)" npm run --silent test:e2e); }

temporary_in_memory
must "install" bash tests/peers/install.sh packages
must "install tools and peers" bash tests/peers/install.sh tools openclaw nginx
stage "crypto guard" crypto_guard
stage "tree guard" tree_guard
stage "UI: types, lint, unit, build" ui
stage "format" cargo fmt --all --check
stage "clippy" lint
stage "deny" cargo deny --all-features check bans licenses sources
stage "documentation" documentation
must "build tests" cargo nextest run --workspace --no-run --cargo-quiet
stage "tests on SQLite" on_sqlite
stage "tests on PostgreSQL" on_postgres
stage "40,000 turns" many_turns
stage "signature vectors" signature_vectors
stage "UI: components in Chromium" ui_browser
stage "UI: whole pages in Chromium" ui_pages
stage "real clients and browser" bash tests/ci/e2e.sh
stage "bench tools" bench_tools
finish
