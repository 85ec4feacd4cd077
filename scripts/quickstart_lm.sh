#!/usr/bin/env bash
# What batch augmentation does for a language model, on real text, by one command: sets up, trains a
# regularised LSTM and the same model on M copies of every stream for equally many updates, and ends
# with a table of perplexities, a Kneser-Ney 5-gram among them, and a picture of the learning curves.
#
#   bash scripts/quickstart.sh --lm [options]
#     --corpus DIR      your own text: train.txt, valid.txt and test.txt, a sentence a line, words
#                       separated by spaces (default: the language reference of this Python)
#     --min-count N     words seen fewer times in train are <unk> (default 2)
#     --replicas M      copies of every stream (default 4)
#     --updates U       updates of both systems (default 1000)
#     --seed S          default 1
#     --out DIR         where to work (default runs/quickstart-lm)
#     --budget small    a tiny model and few updates: a test of the set-up, not of the method
#
# About six minutes on two cores. Safe to interrupt: call it again and it goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib_lm.sh"

corpus="" min_count=2 replicas=4 updates="" seed=1 out="$BAS_ROOT/runs/quickstart-lm" budget=full
arguments=()
for argument in "$@"; do
    [ "$argument" = --lm ] || arguments+=("$argument")
done
read_options "corpus min-count replicas updates seed out budget" "${arguments[@]}"
streams=20
model=(
    --arch bas_awd_lstm_lm_small --tokens-per-sample 35 --criterion bas_cross_entropy
    --optimizer adam --lr 0.003 --clip-norm 0.25
)
case "$budget" in
full) updates="${updates:-1000}" ;;
small)
    updates="${updates:-40}" out="$out/small"
    model+=(--bas-embed-dim 64 --bas-hidden-dim 64)
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # more do not help a tiny model
    ;;
*) die "--budget $budget is not known; leave it out, or pass --budget small" ;;
esac
need_whole "$min_count" "$replicas" "$updates" "$seed"
[ -z "$corpus" ] || need_text "$corpus"

bash "$BAS_ROOT/scripts/setup.sh"
use_threads

work="$out"
if [ -n "$corpus" ]; then
    corpus="$(cd "$corpus" && pwd)"
    work="$(own_folder "$out" "$corpus")"
else
    corpus="$out/corpus"
    say "getting the text"
    "$BAS_PYTHON" "$BAS_ROOT/data/get_python_reference.py" --out "$corpus"
fi

say "preparing the text"
bin="$work/bin-min$min_count"
prepare_text "$corpus" "$bin" "$min_count"
printf '%s words to train on, %s different ones\n' "$(wc -w <"$corpus/train.txt")" "$(wc -l <"$bin/dict.txt")"

system() { # system NAME M
    local run="$work/M$2-u$updates-seed$seed-min$min_count" every=$(((updates + 19) / 20)) show=()
    say "$1: $updates updates, M = $2"
    [ -e "$run/done" ] || show=(followed "$run/train.log" ppl "$updates")
    "${show[@]}" train_text "$bin" "$run" --cpu --batch-size "$streams" "${model[@]}" \
        --seed "$seed" --bas-replicas "$2" --max-update "$updates" --log-interval "$every" \
        --validate-interval 1000000 --save-interval 1000000 --keep-interval-updates 1 \
        --validate-interval-updates "$every" --save-interval-updates "$every"
    perplexity "$bin" "$run/checkpoint_best.pt" test "$run/test.ppl" --cpu
}

system "baseline" 1
system "batch augmentation" "$replicas"

say "result"
name="u$updates-seed$seed-min$min_count"
"$BAS_PYTHON" "$BAS_ROOT/scripts/quickstart_lm_table.py" --corpus "$corpus" \
    --min-count "$min_count" --out "$work" \
    --runs "baseline=$work/M1-$name" "copies=$work/M$replicas-$name"
