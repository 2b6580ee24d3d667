#!/bin/sh
# Runs each fuzz target for a minute (or for the seconds given) with the corpus kept here.
# Wants a nightly toolchain and cargo-fuzz; new finds are added to the corpus.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz or a nightly toolchain is missing: cargo install cargo-fuzz" >&2
    exit 2
fi
for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    echo "== $name"
    # An absolute directory: the corpus is beside this script, not below a directory named fuzz.
    cargo +nightly fuzz run --fuzz-dir . "$name" "$PWD/corpus/$name" -- \
        -max_total_time="$seconds" -max_len=65536 -timeout=5 -rss_limit_mb=512
done
