#!/usr/bin/env bash
# Build the source distribution and the wheel, and try both as people would who have nothing else: in
# a clean environment for each supported build of fairseq, from a folder outside of the repository.
#
#   bash scripts/package.sh [options]
#     --out DIR          where both files end up (default dist); what is there is replaced
#     --python PYTHON    makes the environments (default: the Python of the scripts)
#     --fairseq "NAMES"  to try with: ve-fairseq, fairseq-fixed, both, or "" for none (default both)
#
# Each environment takes 1.5 GB while it is tried, and the download of torch where pip has not kept it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

out="$BAS_ROOT/dist" python="$BAS_PYTHON" fairseq="ve-fairseq fairseq-fixed"
read_options "out python fairseq" "$@"
for name in $fairseq; do
    [[ " ve-fairseq fairseq-fixed " == *" $name "* ]] || die "--fairseq $name is not known; see --help"
done
unset PYTHONPATH
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
constraints="$BAS_ROOT/scripts/constraints.txt"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

make_environment() { # make_environment FOLDER
    "$python" -m venv "$1" || die "$python makes no environment; pass --python a Python 3.11 or 3.12"
    quietly "$1/bin/pip" install -c "$constraints" setuptools wheel
}

quietly() { # quietly COMMAND...: its output only if it fails
    "$@" >"$work/log" 2>&1 || die "failed: $*; its last words: $(tail -n 3 "$work/log")"
}

build() { # the source distribution from the repository, the wheel from what is in the former
    say "building into $out"
    make_environment "$work/build"
    mkdir -p "$work/source" "$work/made"
    # A copy, as the build leaves folders behind; without what git would not take either.
    (cd "$BAS_ROOT" && tar -c --exclude-vcs --exclude='./.venv*' --exclude=./runs --exclude=./dist \
        --exclude=./build --exclude='*.egg-info' --exclude=__pycache__ .) | tar -x -C "$work/source"
    (cd "$work/source" && quietly "$work/build/bin/python" -c \
        "from setuptools import build_meta; build_meta.build_sdist('$work/made')")
    quietly "$work/build/bin/pip" wheel --no-deps --no-build-isolation -w "$work/made" "$work"/made/*.tar.gz
    "$work/build/bin/python" "$BAS_ROOT/scripts/package_contents.py" "$BAS_ROOT" "$work"/made/*
    rm -rf "$out" "$work/build" "$work/source"
    mkdir -p "$out"
    cp "$work"/made/* "$out"
}

try() { # try FAIRSEQ: in one environment, first the wheel, then the source distribution
    local environment="$work/$1" pip wheel sdist
    say "a clean environment with $1"
    make_environment "$environment"
    pip="$environment/bin/pip"
    wheel="$(echo "$work"/made/*.whl)" sdist="$(echo "$work"/made/*.tar.gz)"
    if [ "$1" = ve-fairseq ]; then
        quietly "$pip" install --no-compile -c "$constraints" "$wheel[fairseq]"
    else
        quietly "$pip" install --no-compile -c "$constraints" torch numpy cython
        quietly "$pip" install --no-compile --no-build-isolation fairseq-fixed==0.12.3.1
        quietly "$pip" install --no-compile -c "$constraints" "$wheel"
    fi
    smoke "$environment" wheel
    quietly "$pip" install --no-compile --force-reinstall --no-deps --no-build-isolation "$sdist"
    smoke "$environment" sdist
    rm -rf "$environment"
}

smoke() { # smoke ENVIRONMENT NAME: train, translate, score and report with what is installed
    local bin="$1/bin" folder="$work/$2-$(basename "$1")"
    mkdir "$folder"
    cd "$folder"
    "$bin/fairseq-bas" --help | grep -q replica-variance
    "$bin/python" -c "import fairseq_bas, sys
assert fairseq_bas.__file__.startswith(sys.prefix), fairseq_bas.__file__"
    quietly "$bin/python" "$BAS_ROOT/data/make_toy.py" --out toy --train 60 --valid 12 --test 12
    quietly "$bin/fairseq-preprocess" -s src -t tgt --joined-dictionary --trainpref toy/train \
        --validpref toy/valid --testpref toy/test --destdir data-bin
    # --user-dir by its bare name, as docs/guide.md has it for an installed plugin.
    quietly "$bin/fairseq-train" data-bin --user-dir fairseq_bas --task bas_translation \
        --bas-replicas 2 --bas-source-noise mask=0.1 --arch transformer_tiny --cpu --num-workers 0 \
        --criterion bas_cross_entropy --optimizer adam --lr 1e-3 --max-tokens 200 --max-update 3 \
        --log-format json --log-interval 1 --save-dir checkpoints --log-file checkpoints.log
    grep -q '"train_num_updates": "3"' checkpoints.log || die "$2: three updates were not trained"
    "$bin/fairseq-generate" data-bin --user-dir fairseq_bas --task bas_translation --cpu \
        --path checkpoints/checkpoint_best.pt --required-batch-size-multiple 1 --max-len-b 5 \
        >test.gen 2>"$work/log" || die "$2: fairseq-generate failed; $(tail -n 3 "$work/log")"
    quietly "$bin/fairseq-bas" score --ref toy/test.tgt test.gen --json score.json
    quietly "$bin/fairseq-bas" report run=checkpoints.log --scores score.json --no-png --out run.html
    grep -q '<svg' run.html || die "$2: the report has no figure"
    quietly "$bin/fairseq-bas" check data-bin
    cd "$BAS_ROOT"
    echo "   $2: trained, translated, scored, reported"
}

build
for name in $fairseq; do
    try "$name"
done
say "made: $(cd "$out" && echo *)"
