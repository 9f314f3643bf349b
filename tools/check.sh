#!/bin/bash
# Every check in its order, each named with its seconds; the first that fails ends it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

step() {
    local name=$1 started=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@"
    printf '== %s: %d s\n' "$name" $((SECONDS - started))
}

step lint "$bin/ruff" check src tests tools benchmarks
step types "$bin/mypy" --strict src tools benchmarks
step contracts "$bin/lint-imports" --no-cache --no-logo
step tidy "$bin/python" tools/tidy.py

# What money depends on, and its tests, in which every branch is taken. Workers and processes measure each for itself.
core=(domain protocol formats journal rules signer guard)
"$bin/python" -m coverage erase
step 'trusted core' "$bin/python" -m coverage run -m pytest -n 2 --durations 15 "${core[@]/#/tests/}"
"$bin/python" -m coverage combine --quiet
step 'every branch of it' "$bin/python" -m coverage report --fail-under 100
step 'all other tests' "$bin/python" -m pytest -n 2 --durations 15 tests "${core[@]/#/--ignore=tests/}"
