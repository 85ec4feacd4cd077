#!/usr/bin/env bash
# What language models reach: every system of a list x every seed, on the same text. Ends with a
# table of perplexities, those of each run's best checkpoint with the state carried through.
#
#   scripts/bench/lm_grid.sh --corpus DIR --out DIR --systems scripts/bench/lm_systems.txt
#       [--seeds "1 2"] [--jobs 2] [--min-count 2]     words seen fewer times in train are <unk>
#
# A line of the list is a name and flags of fairseq-train; "#" begins a comment. The mark to beat,
# an n-gram model on the same words: scripts/bench/kneser_ney.py DIR --min-count 2.
#
# Each run uses one thread; --jobs run side by side. Safe to interrupt and call again.
source "$(dirname "${BASH_SOURCE[0]}")/../lib_lm.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib_grid.sh"

corpus="" out="" systems="" seeds="1 2" jobs=2 min_count=2
read_options "corpus out systems seeds jobs min-count" "$@"
[ -n "$corpus" ] && [ -n "$out" ] && [ -n "$systems" ] ||
    die "--corpus, --out and --systems are needed; see --help"
[ -r "$systems" ] || die "$systems cannot be read; give --systems a file with a system a line"
need_text "$corpus"
need_whole "$jobs" "$min_count" $seeds
export OMP_NUM_THREADS=1

one_run() { # one_run NAME SEED, in a process of its own
    local run="$out/runs/$1-seed$2"
    local -a flags
    read -ra flags <<<"${flags_of[$1]}"
    train_text "$out/bin" "$run" --cpu --log-interval 1000 --seed "$2" "${flags[@]}"
    both_perplexities "$out/bin" "$run/checkpoint_best.pt" "$run" --cpu
    printf '%s finished\n' "$(basename "$run")"
}

read_systems
prepare_words "$corpus" "$out" "$min_count"
run_grid "$seeds" "$jobs"
"$BAS_PYTHON" "$BAS_ROOT/scripts/bench/lm_table.py" --runs "$out/runs" --systems "$systems" \
    --seeds "$seeds"
