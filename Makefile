# The front door. CI runs the same recipes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export RUST_BACKTRACE ?= 0

TARGET := $(or $(CARGO_TARGET_DIR),target)
BENCH_TARGET := $(TARGET)/bench

.PHONY: help run check test bench chaos e2e scenarios fmt

help: ## What there is
	@grep -E '^[a-z0-9-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'

run: ## Builds and starts a development server on 127.0.0.1:8080
	cargo run

fmt: ## Formats everything
	cargo fmt --all
	cargo fmt --manifest-path tests/bench/Cargo.toml

check: ## Fast: format, lints, unit tests (under a minute when warm)
	cargo fmt --all --check
	CLAW_UI_SKIP=1 cargo clippy --workspace --all-targets --quiet -- -D warnings
	CLAW_UI_SKIP=1 cargo nextest run --workspace --lib --show-progress none --status-level fail --final-status-level fail

test: ## Everything CI runs; installs what it needs
	bash tests/ci/all.sh

bench: ## Release build, then ours and the floor side by side as one table (ARGS="--rows B4")
	bash tests/peers/install.sh packages
	cargo build --release --workspace
	cargo build --release --manifest-path tests/bench/Cargo.toml --target-dir $(BENCH_TARGET)
	$(BENCH_TARGET)/release/bench --clawcentral $(TARGET)/release/clawcentral $(ARGS)

chaos: ## The kill test with 100 rounds and the long run with 10,000 turns, on SQLite and on PostgreSQL
	bash tests/peers/install.sh packages tools
	export CLAW_CHAOS_ROUNDS=100 CLAW_LONG_TURNS=$${CLAW_LONG_TURNS:-10000} CLAW_LONG_SEED=$${CLAW_LONG_SEED:-$$RANDOM}; \
	for with in "" "bash tests/ci/with-postgres.sh"; do \
		$$with cargo nextest run --workspace --success-output final -E 'binary(it) & test(/^(chaos|long_run)/)'; \
	done

e2e: ## The real OpenClaw client and a real browser against a real server
	bash tests/peers/install.sh packages tools openclaw mcp nginx
	bash tests/ci/e2e.sh

scenarios: ## The scenarios of tests/scenarios against the original gateway, to see that they say what it does
	exports=$$(bash tests/peers/install.sh tools openclaw); eval "$$exports"; \
	CLAW_UI_SKIP=1 cargo nextest run --workspace --run-ignored ignored-only -E 'test(the_original_gateway_keeps_to_them)'
