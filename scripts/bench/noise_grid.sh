#!/usr/bin/env bash
# What each kind of noise does: every system of a list x every seed, from the same text, for equally
# many updates. Ends with a table of the test set, translated from each run's best checkpoint.
#
#   scripts/bench/noise_grid.sh --corpus DIR --out DIR --systems scripts/bench/noise_systems.txt
#       [--updates 500] [--tokens 1500] [--seeds "1 2"] [--jobs 2] [--vocab 2000]
#       [--train-pairs N]     only the first N pairs of the training text; valid and test whole
#
# A line of the list is a name and flags of fairseq-train; the first line is the baseline. "#" begins
# a comment, @spm@ is the sentencepiece model. Flags follow those of this script, so that a system
# may have its own --max-tokens or --max-update.
#
# Each run uses one thread; --jobs run side by side. Safe to interrupt and call again.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib_grid.sh"

corpus="" out="" systems="" updates=500 tokens=1500 seeds="1 2" jobs=2 vocab=2000 train_pairs=""
read_options "corpus out systems updates tokens seeds jobs vocab train-pairs" "$@"
[ -n "$corpus" ] && [ -n "$out" ] && [ -n "$systems" ] ||
    die "--corpus, --out and --systems are needed; see --help"
need_whole "$updates" "$tokens" "$jobs" "$vocab" $seeds ${train_pairs:+"$train_pairs"}
[ -r "$systems" ] || die "$systems cannot be read; give --systems a file with a system a line"
[ -d "$corpus" ] || die "$corpus is not a folder; give --corpus one with train, valid and test text"
corpus="$(cd "$corpus" && pwd)"
export OMP_NUM_THREADS=1
bin="$out/bin"

one_run() { # one_run NAME SEED, in a process of its own
    local run="$out/runs/$1-seed$2" seed="$2" length="$updates" index every
    local -a flags
    read -ra flags <<<"${flags_of[$1]}"
    flags=("${flags[@]//@spm@/"$out/spm.model"}")
    for index in "${!flags[@]}"; do
        [ "${flags[index]}" != --max-update ] || length="${flags[index + 1]:-}"
    done
    [[ "$length" =~ ^[1-9][0-9]*$ ]] || die "$1 has --max-update '$length', not a whole number"
    every=$(((length + 9) / 10)) # ten validations, the last one at the end
    mkdir -p "$run"
    made_with "--max-update $updates --max-tokens $tokens ${flags_of[$1]}" \
        "$run/settings" "$run/checkpoint_last.pt"
    train_small "$bin" "$run" --seed "$seed" --max-update "$updates" --max-tokens "$tokens" \
        --validate-interval-updates "$every" --save-interval-updates "$every" \
        --keep-interval-updates 1 --log-interval "$every" "${flags[@]}"
    generate_small "$bin" "$run/checkpoint_best.pt" "$run/test.gen"
    printf '%s finished\n' "$(basename "$run")"
}

read_systems
prepare_pairs "$corpus" "$out" "$vocab" "$train_pairs"
run_grid "$seeds" "$jobs"
"$BAS_PYTHON" "$BAS_ROOT/scripts/bench/noise_grid_table.py" --runs "$out/runs" \
    --ref "$corpus/test.tgt" --systems "$systems" --seeds "$seeds"
