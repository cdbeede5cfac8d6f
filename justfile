# `just` lists these; .ci/run does the same from a fresh machine.

default:
    @just --list

# The tests whose name contains NAME, in debug.
t NAME:
    cargo test --quiet -- {{NAME}}

# Format, lints.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Licences, sources and duplicates of what we depend on; needs cargo-deny.
deny:
    cargo deny --all-features check bans licenses sources

# All tests, the real Codex and the real MLflow included.
test:
    cargo test

# Our database in each MLflow between the oldest and the newest; nightly.
older-mlflows:
    cargo test --test targets older_mlflow:: -- --ignored --nocapture

# The table of docs/performance.md: start, keys, output, import, list; on a quiet machine.
bench *PROGRAM:
    scripts/bench {{PROGRAM}}

# A real Codex does a small job and its trace is shown.
demo:
    cargo run --profile demo --example demo

# Both macOS programs are built and linked, and their load commands checked; on any machine.
macos-link:
    scripts/macos-link

# Documentation, private items too.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

# What CI does.
ci:
    .ci/run
