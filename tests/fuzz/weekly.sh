#!/bin/sh
# Runs each fuzz target for a minute (or for the seconds given) from the corpus kept here, and adds
# to it what covers more. Wants cargo-fuzz; takes the nightly toolchain, or the usual one told to
# understand the same.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
if cargo +nightly --version >/dev/null 2>&1; then
    toolchain=+nightly
else
    toolchain=
    export RUSTC_BOOTSTRAP=1
fi
if ! cargo $toolchain fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is missing: cargo install cargo-fuzz" >&2
    exit 2
fi
for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    echo "== $name"
    # Absolute directories: the corpus is beside this script, not below a directory named fuzz.
    found=$(mktemp -d)
    cargo $toolchain fuzz run --fuzz-dir . "$name" "$found" "$PWD/corpus/$name" -- \
        -max_total_time="$seconds" -max_len=65536 -timeout=5 -rss_limit_mb=512
    # Of what was found only what covers more than the corpus does.
    cargo $toolchain fuzz run --fuzz-dir . "$name" "$PWD/corpus/$name" "$found" -- -merge=1
    rm -r "$found"
done
