#!/usr/bin/env bash
# What batch augmentation does for a translation model, on real text, by one command: sets up, gets a
# corpus, trains a baseline and the same model on M copies of every sentence for equally many
# updates, translates the test set, and ends with a table and a picture of both learning curves.
#
#   bash scripts/quickstart.sh [options]
#     --corpus DIR      your own text: train/valid/test, each as .src and .tgt, a sentence a line
#                       (default: English-German software messages, fetched by pip, 12,832 pairs)
#     --replicas M      copies of every sentence (default 4)
#     --updates U       updates of both systems (default 2000)
#     --seed S          default 1
#     --out DIR         where to work (default runs/quickstart)
#     --budget small    a toy corpus and few updates: a test of the set-up, not of the method
#     --lm              a language model instead; its options: bash scripts/quickstart.sh --lm --help
#
# About ten minutes on two cores. Safe to interrupt: call it again and it goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

corpus="" replicas=4 updates="" seed=1 out="$BAS_ROOT/runs/quickstart" budget=full
for option in "$@"; do
    [ "$option" != --lm ] || exec bash "$BAS_ROOT/scripts/quickstart_lm.sh" "$@"
done
read_options "corpus replicas updates seed out budget" "$@"
case "$budget" in
full) updates="${updates:-2000}" vocab=2000 ;;
small) updates="${updates:-60}" vocab=200 ;;
*) die "--budget $budget is not known; leave it out, or pass --budget small" ;;
esac
need_whole "$replicas" "$updates" "$seed"

bash "$BAS_ROOT/scripts/setup.sh"
use_threads

if [ -n "$corpus" ]; then
    [ -d "$corpus" ] || die "$corpus is not a folder; give one with train, valid and test text"
    corpus="$(cd "$corpus" && pwd)"
    work="$(own_folder "$out" "$corpus")"
elif [ "$budget" = small ]; then
    work="$out/toy" corpus="$out/toy/corpus"
    "$BAS_PYTHON" "$BAS_ROOT/data/make_toy.py" --out "$corpus" --train 1000 --valid 100 --test 100
else
    work="$out/software" corpus="$out/software/corpus"
    say "getting the corpus"
    "$BAS_PYTHON" "$BAS_ROOT/data/get_software_en_de.py" --out "$corpus"
fi

say "preparing the corpus"
prepare "$corpus" "$work" "$vocab"
printf '%s pairs to train on, %s subwords\n' "$(wc -l <"$work/train.src")" "$(wc -l <"$work/bin/dict.src.txt")"

system() { # system NAME M
    local run="$work/M$2-u$updates-seed$seed" every=$(((updates + 19) / 20))
    say "$1: $updates updates, M = $2"
    [ -e "$run/done" ] || followed "$run/train.log" loss "$updates" \
        train_small "$work/bin" "$run" --seed "$seed" --max-tokens 1500 --bas-replicas "$2" \
        --max-update "$updates" --log-interval "$every" --keep-interval-updates 1 \
        --validate-interval-updates "$every" --save-interval-updates "$every"
    printf '   translating the test set\n'
    generate_small "$work/bin" "$run/checkpoint_best.pt" "$run/test.gen"
}

system "baseline" 1
system "batch augmentation" "$replicas"

say "result"
"$BAS_PYTHON" "$BAS_ROOT/scripts/quickstart_table.py" --ref "$corpus/test.tgt" --out "$work" \
    --runs "baseline=$work/M1-u$updates-seed$seed" "copies=$work/M$replicas-u$updates-seed$seed"
