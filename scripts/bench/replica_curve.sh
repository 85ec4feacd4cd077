#!/usr/bin/env bash
# What M copies buy: baseline and M copies at equal updates, and the two ways to spend the same
# compute without copies, M times the updates and an M times larger batch. Ends with a table.
#
#   scripts/bench/replica_curve.sh --corpus DIR --out DIR [--updates 500] [--tokens 1000]
#       [--seeds "1 2"] [--replicas "2 4 8"] [--jobs 2] [--vocab 2000]
#
# Each run uses one thread; --jobs run side by side. Safe to interrupt and call again.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

corpus="" out="" updates=500 tokens=1000 seeds="1 2" replicas="2 4 8" jobs=2 vocab=2000
while [ $# -gt 0 ]; do
    case "$1" in
    --corpus | --out | --updates | --tokens | --seeds | --replicas | --jobs | --vocab)
        [ $# -ge 2 ] || die "$1 needs a value"
        declare "${1#--}=$2"
        shift 2
        ;;
    *) die "unknown option $1; see the head of this file" ;;
    esac
done
[ -n "$corpus" ] && [ -n "$out" ] || die "--corpus and --out are needed"
export OMP_NUM_THREADS=1
longest="${replicas##* }"
bin="$out/bin"

one_run() { # one_run NAME SEED UPDATES FLAGS...
    local run="$out/runs/$1-seed$2" seed="$2" length="$3"
    shift 3
    train_small "$bin" "$run" --seed "$seed" --max-update "$length" \
        --validate-interval-updates $((updates / 10)) --save-interval-updates "$updates" "$@"
    local checkpoint
    for checkpoint in "$run"/checkpoint_*_*.pt; do
        generate_small "$bin" "$checkpoint" "${checkpoint%.pt}.gen"
    done
    printf '%s finished\n' "$(basename "$run")"
}

job() { # job KIND SEED, in a process of its own
    local kind="$1" seed="$2" times="${1#*x}"
    case "$kind" in
    baseline) one_run baseline "$seed" $((updates * longest)) --max-tokens "$tokens" ;;
    copies-x*) one_run "$kind" "$seed" "$updates" --max-tokens "$tokens" --bas-replicas "$times" ;;
    batch-x*) one_run "$kind" "$seed" "$updates" --max-tokens $((tokens * times)) ;;
    esac
}

prepare "$corpus" "$out" "$vocab"
{
    for seed in $seeds; do
        printf 'baseline %s\n' "$seed"
        for times in $(printf '%s\n' $replicas | tac); do
            printf 'copies-x%s %s\nbatch-x%s %s\n' "$times" "$seed" "$times" "$seed"
        done
    done
} | {
    failed=0
    while read -r kind seed; do
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || failed=1; done
        job "$kind" "$seed" &
    done
    while [ -n "$(jobs -rp)" ]; do wait -n || failed=1; done
    [ "$failed" = 0 ] || die "a run failed; see above"
}
"$BAS_PYTHON" "$BAS_ROOT/scripts/bench/replica_table.py" --runs "$out/runs" --ref "$corpus/test.tgt" \
    --updates "$updates" --replicas "$replicas" --seeds "$seeds"
