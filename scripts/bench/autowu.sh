#!/usr/bin/env bash
# Whether automatic warm-up finds the learning rate that a grid finds: a small Transformer trained
# with each largest learning rate of a grid (linear warm-up over a tenth of the updates, then cosine
# to 0), and once with --lr-scheduler bas_autowu, which may try learning rates up to the grid's
# largest. Ends with a table of validation losses and the ratio of what was found to the best.
#
#   scripts/bench/autowu.sh --corpus DIR --out DIR [options]
#     --updates U       updates of every run (default 2000)
#     --tokens N        target tokens a batch, --max-tokens (default 1500)
#     --lrs "A B ..."   the grid (default "1e-4 2e-4 5e-4 1e-3 2e-3 5e-3 1e-2 2e-2")
#     --seeds "1 2"     (default "1")
#     --jobs N          runs side by side, each with one thread (default 2)
#     --vocab N         subwords (default 2000)
#     --flags "..."     more flags for every run, e.g. "--bas-replicas 4"
#
# A run that diverges counts, with no loss. Safe to interrupt and call again.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib_grid.sh"

corpus="" out="" updates=2000 tokens=1500 seeds=1 jobs=2 vocab=2000 flags=""
lrs="1e-4 2e-4 5e-4 1e-3 2e-3 5e-3 1e-2 2e-2"
read_options "corpus out updates tokens lrs seeds jobs vocab flags" "$@"
[ -n "$corpus" ] && [ -n "$out" ] || die "--corpus and --out are needed; see --help"
[ -d "$corpus" ] || die "$corpus is not a folder; give --corpus one with train, valid and test text"
corpus="$(cd "$corpus" && pwd)"
need_whole "$updates" "$tokens" "$jobs" "$vocab" $seeds
[ -n "$lrs" ] && [ -n "$seeds" ] || die "--lrs and --seeds need a number at least; see --help"
export OMP_NUM_THREADS=1
bin="$out/bin"

without_schedule() { # FLAGS...: into MODEL, without those of the learning rate
    MODEL=()
    while [ $# -gt 0 ]; do
        case "$1" in
        --lr | --lr-scheduler | --warmup-updates) shift 2 ;;
        *)
            MODEL+=("$1")
            shift
            ;;
        esac
    done
}

one_run() { # one_run NAME SEED, in a process of its own
    local run="$out/runs/$1-seed$2" every=$(((updates + 9) / 10)) # ten validations, the last one at the end
    local -a own
    read -ra own <<<"${flags_of[$1]} $flags"
    mkdir -p "$run"
    made_with "--max-update $updates --max-tokens $tokens ${own[*]}" \
        "$run/settings" "$run/checkpoint_last.pt"
    [ ! -e "$run/diverged" ] || return 0
    if (train_small "$bin" "$run" --seed "$2" --max-update "$updates" --max-tokens "$tokens" \
        --validate-interval-updates "$every" --save-interval-updates "$every" \
        --keep-interval-updates 1 --log-interval "$every" "${own[@]}") 2>"$run/error"; then
        printf '%s finished\n' "$(basename "$run")"
    elif grep -q '^FloatingPointError' "$run/train.log"; then
        touch "$run/diverged"
        printf '%s diverged\n' "$(basename "$run")"
    else
        die "$(<"$run/error")"
    fi
}

without_schedule "${SMALL_MODEL[@]}"
SMALL_MODEL=("${MODEL[@]}")
warmup=$(((updates + 9) / 10)) largest="$(printf '%s\n' $lrs | sort -g | tail -n 1)"
for lr in $lrs; do
    [[ "$lr" =~ ^[0-9.]+([eE][-+]?[0-9]+)?$ ]] || die "$lr in --lrs is not a number above 0"
    [ -z "${flags_of[lr$lr]+known}" ] || die "--lrs has $lr twice; give each once"
    names+=("lr$lr")
    flags_of[lr$lr]="--lr-scheduler cosine --lr $lr --warmup-init-lr 1e-7 --warmup-updates $warmup"
done
names+=(autowu)
flags_of[autowu]="--lr-scheduler bas_autowu --lr $largest"

mkdir -p "$out"
made_with "--corpus $corpus --vocab $vocab" "$out/settings" "$bin/done"
prepare "$corpus" "$out" "$vocab"
run_grid "$seeds" "$jobs"
"$BAS_PYTHON" "$BAS_ROOT/scripts/bench/autowu_table.py" --runs "$out/runs" --lrs "$lrs" --seeds "$seeds"
