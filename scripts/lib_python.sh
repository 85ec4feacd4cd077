# Which Python the scripts use. Sourced, not run.
# shellcheck shell=bash
#
# BAS_PYTHON if it is set; else the python3 of an environment that has torch and a fairseq already,
# so that people keep theirs; else .venv, which scripts/setup.sh makes.

has_torch_and_fairseq() { # has_torch_and_fairseq PYTHON
    "$1" -c 'import importlib.util as u, sys
sys.exit(sys.version_info < (3, 11) or not (u.find_spec("torch") and u.find_spec("fairseq")))' \
        2>/dev/null
}

if [ -z "${BAS_PYTHON:-}" ]; then
    if [ ! -e "$BAS_ROOT/.venv" ] && has_torch_and_fairseq python3; then
        BAS_PYTHON="$(command -v python3)"
    else
        BAS_PYTHON="$BAS_ROOT/.venv/bin/python"
    fi
fi
export BAS_PYTHON
