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
step 'pure packages, every branch' "$bin/python" -m coverage run --branch -m pytest tests/domain tests/protocol tests/formats
step coverage "$bin/python" -m coverage report --fail-under 100 --skip-covered
step tests "$bin/python" -m pytest -n 2 tests --ignore tests/domain --ignore tests/protocol --ignore tests/formats
