#!/usr/bin/env bash
# What schedules of the batch cost: every system of a list x every seed, on the same text. Ends with
# a table of how much each needed to reach the validation loss that the first system got down to.
#
#   scripts/bench/batch_grid.sh --corpus DIR --out DIR
#       --systems scripts/bench/batch_systems_translation.txt
#       [--task translation]  or lm
#       [--seeds "1"] [--jobs 1]
#       [--loss X]            a loss to reach, bits a target token, instead of the first system's best
#       [--vocab 2000] [--train-pairs 2500]   translation: subwords; pairs of the training text
#       [--min-count 2]                       lm: words seen fewer times in train are <unk>
#
# A line of the list is a name and flags of fairseq-train, all of them but the task and the seed.
# "#" begins a comment; a line NAME = FLAGS lets @NAME stand for these flags in the lines below.
# Runs validate at the end of every epoch, that is after the same text whatever their batch is;
# systems with the same --max-epoch end after the same text.
#
# Each run uses one thread; --jobs run side by side. One that ends in gradients that are no numbers
# counts as diverged. Safe to interrupt and call again. The table of what there is, at any time:
# scripts/bench/batch_table.py --runs OUT/runs --systems FILE.
source "$(dirname "${BASH_SOURCE[0]}")/../lib_lm.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib_grid.sh"

corpus="" out="" systems="" task=translation seeds=1 jobs=1 loss="" vocab=2000 train_pairs=2500
min_count=2
read_options "corpus out systems task seeds jobs loss vocab train-pairs min-count" "$@"
[ -n "$corpus" ] && [ -n "$out" ] && [ -n "$systems" ] ||
    die "--corpus, --out and --systems are needed; see --help"
[ -r "$systems" ] || die "$systems cannot be read; give --systems a file with a system a line"
[ -d "$corpus" ] || die "$corpus is not a folder; give --corpus one with train, valid and test text"
corpus="$(cd "$corpus" && pwd)"
[ "$task" != lm ] || need_text "$corpus"
[ "$task" = lm ] || [ "$task" = translation ] || die "--task $task is neither translation nor lm"
[[ "$loss" =~ ^([0-9]+(\.[0-9]+)?)?$ ]] || die "--loss $loss is not a number above 0"
[ -n "$seeds" ] || die "--seeds needs a number at least; see --help"
need_whole "$jobs" "$vocab" "$train_pairs" "$min_count" $seeds
export OMP_NUM_THREADS=1
SMALL_MODEL=(--task bas_translation) # the list has the rest

train_run() { # train_run RUN FLAGS...: in a process of its own, so that a failure ends only that
    local run="$1"
    shift
    local -a often=(--log-interval 10 --validate-interval 1 --save-interval 1)
    if [ "$task" = lm ]; then
        train_text "$out/bin" "$run" --cpu "${often[@]}" "$@"
    else
        train_small "$out/bin" "$run" "${often[@]}" "$@"
    fi
}

one_run() { # one_run NAME SEED, in a process of its own
    local run="$out/runs/$1-seed$2" TIMEFORMAT='%U %S'
    local -a flags
    read -ra flags <<<"${flags_of[$1]}"
    mkdir -p "$run"
    made_with "${flags_of[$1]}" "$run/settings" "$run/checkpoint_last.pt"
    [ ! -e "$run/done" ] && [ ! -e "$run/diverged" ] || return 0
    # Processor time: as there is one thread, what the run takes on an idle machine.
    if { time (train_run "$run" --seed "$2" "${flags[@]}" 2>"$run/error"); } 2>>"$run/cpu"; then
        printf '%s finished\n' "$(basename "$run")"
    elif grep -q '^FloatingPointError' "$run/train.log"; then
        touch "$run/diverged"
        printf '%s diverged\n' "$(basename "$run")"
    else
        die "$(<"$run/error")"
    fi
}

read_systems
if [ "$task" = lm ]; then
    prepare_words "$corpus" "$out" "$min_count"
else
    prepare_pairs "$corpus" "$out" "$vocab" "$train_pairs"
fi
run_grid "$seeds" "$jobs"
"$BAS_PYTHON" "$BAS_ROOT/scripts/bench/batch_table.py" --runs "$out/runs" --systems "$systems" \
    --seeds "$seeds" ${loss:+--loss "$loss"}
