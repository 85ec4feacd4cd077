#!/usr/bin/env bash
# Make the environment that the other scripts use. Called by them; does nothing when it is done.
#
#   bash scripts/setup.sh                           .venv with tested versions (constraints.txt)
#   BAS_PYTHON=/path/python bash scripts/setup.sh   add what is missing to that environment
#   bash scripts/setup.sh --fairseq-fixed           .venv-fixed: the other build of fairseq
#   BAS_SKIP_SETUP=1 bash scripts/ANY.sh            use the environment as it is, install nothing
#
# An active environment that has torch and a fairseq is used as it is: both keep their versions.
# Takes a few minutes where torch has to be downloaded.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -z "${BAS_SKIP_SETUP:-}" ] || exit 0
constraints="$BAS_ROOT/scripts/constraints.txt"
extras="plot,dev"

find_python() { # print a Python 3.11 or 3.12
    local candidate
    for candidate in python3.11 python3.12 python3; do
        if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
            2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "no Python 3.11 or 3.12 with the venv module was found; install one (fairseq has wheels for" \
        "these two), or set BAS_PYTHON to an environment that has torch and fairseq"
}

make_venv() { # make_venv FOLDER
    [ -x "$1/bin/python" ] && return
    local python
    python="$(find_python)"
    say "making ${1#"$BAS_ROOT"/} with $("$python" --version)"
    "$python" -m venv "$1"
}

pip_install() { "$BAS_PYTHON" -m pip install --disable-pip-version-check "$@"; }

if [ "${1:-}" = "--fairseq-fixed" ]; then
    BAS_PYTHON="$BAS_ROOT/.venv-fixed/bin/python"
    make_venv "$BAS_ROOT/.venv-fixed"
    if ! has_torch_and_fairseq "$BAS_PYTHON"; then
        say "building fairseq-fixed (a C++ compiler is needed)"
        pip_install -c "$constraints" torch numpy cython setuptools wheel
        pip_install --no-build-isolation fairseq-fixed==0.12.3.1
    fi
elif [ "$BAS_PYTHON" = "$BAS_ROOT/.venv/bin/python" ]; then
    make_venv "$BAS_ROOT/.venv"
    extras="fairseq,$extras"
fi

"$BAS_PYTHON" -c '' || die "$BAS_PYTHON does not run; set BAS_PYTHON to a Python 3.11 or 3.12"
stamp="$("$BAS_PYTHON" -c 'import sys; print(sys.prefix)')/.fairseq_bas_setup"
wanted="$(cat "$constraints" "$BAS_ROOT/setup.py" "$BAS_ROOT/scripts/setup.sh" | cksum) $BAS_ROOT"
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

if [ "${extras#fairseq}" = "$extras" ]; then # their torch, NumPy and fairseq keep their versions
    constraints="$(mktemp)"
    trap 'rm -f "$constraints"' EXIT
    pip_freeze="$("$BAS_PYTHON" -m pip freeze)"
    grep -E '^(torch|numpy|hydra-core|omegaconf)==' <<<"$pip_freeze" | sed 's/+.*//' >"$constraints" || true
fi
say "installing fairseq_bas[$extras] into $(dirname "$(dirname "$BAS_PYTHON")")"
pip_install -c "$constraints" -e "$BAS_ROOT[$extras]"
printf '%s' "$wanted" >"$stamp"
