#!/usr/bin/env bash
# Look up known vulnerabilities of the packages that setup.py requires, in the versions installed.
#
#   scripts/audit.sh      exit code 1 for one that is not on the list below, else 0
#
# Needs the network; without it, or where pip-audit cannot be had, it says "not run" and why. pip-audit
# gets an environment of its own, .venv-audit, so that what is audited is not changed by it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A vulnerability that does not touch us: its name, a colon, and why. Look at them again with each
# new version of the package.
IGNORED=()

not_run() {
    echo "dependency audit not run: $*"
    exit 0
}

say "known vulnerabilities of required packages"
audit="$BAS_ROOT/.venv-audit/bin/python"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
"$BAS_PYTHON" "$BAS_ROOT/scripts/audit.py" --required >"$work/required.txt" ||
    not_run "the required packages are not installed"
if ! "$audit" -c 'import pip_audit' 2>/dev/null; then
    "$BAS_PYTHON" -m venv "$BAS_ROOT/.venv-audit" 2>"$work/log" && timeout 300 "$audit" -m pip install \
        --disable-pip-version-check -q "pip-audit>=2.7,<3" 2>"$work/log" ||
        not_run "pip-audit cannot be installed ($(tail -n 1 "$work/log"))"
fi
timeout 300 "$audit" -m pip_audit --requirement "$work/required.txt" --disable-pip --no-deps \
    --progress-spinner off --format json --output "$work/found.json" 2>"$work/log" || true
[ -s "$work/found.json" ] || not_run "pip-audit gave no answer ($(tail -n 1 "$work/log"))"
"$BAS_PYTHON" "$BAS_ROOT/scripts/audit.py" --found "$work/found.json" --ignore "${IGNORED[@]}"
