#!/usr/bin/env bash
# Set up and pass the tests: bash scripts/test.sh [pytest arguments]
# Some that take long are left out; -m slow runs those, as CI does.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
bash "$BAS_ROOT/scripts/setup.sh"
cd "$BAS_ROOT"
export OMP_NUM_THREADS=1
exec "$BAS_PYTHON" -m pytest -n auto --dist worksteal "$@"
