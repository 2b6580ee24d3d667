#!/bin/sh
# Runs each fuzz target for five minutes (or for the seconds given) from the corpus kept here, with
# coverage and the address sanitizer, and adds to the corpus what covers more of the code: the tests
# run it from then on. Inputs that fail are left in artifacts/. Wants cargo-fuzz and a C++ compiler;
# takes the nightly toolchain, or the usual one told to understand the same.
set -eu
cd "$(dirname "$0")"
seconds=${1:-300}
# Most that one run adds to a corpus, those that cover most first, and the largest of them in bytes.
files=10
bytes=4096
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
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
cargo $toolchain fuzz build --fuzz-dir .
programs=$CARGO_TARGET_DIR/$(rustc $toolchain -vV | sed -n 's/^host: //p')/release
mkdir -p artifacts
failed=
for target in fuzz_targets/*.rs; do
    name=$(basename "$target" .rs)
    echo "== $name"
    found=$(mktemp -d)
    merged=$(mktemp -d)
    nice -n 10 "$programs/$name" "$found" "corpus/$name" -artifact_prefix="artifacts/$name-" \
        -max_total_time="$seconds" -max_len=65536 -timeout=5 -rss_limit_mb=512 ||
        failed="$failed $name"
    # Of those that are small, the fewest that cover what the corpus does not: written in the order
    # of how much that is.
    find "$found" -type f -size +${bytes}c -delete
    cp "corpus/$name"/* "$merged/"
    nice -n 10 "$programs/$name" -set_cover_merge=1 -use_counters=0 -max_len=65536 \
        "$merged" "$found" || failed="$failed $name"
    added=0
    for new in $(ls -tr "$merged"); do
        if [ ! -e "corpus/$name/$new" ] && [ $added -lt $files ]; then
            cp "$merged/$new" "corpus/$name/"
            added=$((added + 1))
        fi
    done
    rm -r "$found" "$merged"
done
if [ -n "$failed" ]; then
    echo "failed:$failed; the inputs are in tests/fuzz/artifacts" >&2
    exit 1
fi
