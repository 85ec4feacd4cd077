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
#
# About ten minutes on two cores. Safe to interrupt: call it again and it goes on where it was.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

corpus="" replicas=4 updates="" seed=1 out="$BAS_ROOT/runs/quickstart" budget=full
while [ $# -gt 0 ]; do
    case "$1" in
    -h | --help)
        sed -n '2,/^source/{/^#/s/^# \{0,1\}//p}' "$0"
        exit 0
        ;;
    --corpus | --replicas | --updates | --seed | --out | --budget)
        [ $# -ge 2 ] || die "$1 needs a value; see --help"
        declare "${1#--}=$2"
        shift 2
        ;;
    *) die "unknown option $1; see --help" ;;
    esac
done
case "$budget" in
full) updates="${updates:-2000}" vocab=2000 ;;
small) updates="${updates:-60}" vocab=200 ;;
*) die "--budget $budget is not known; leave it out, or pass --budget small" ;;
esac
for number in "$replicas" "$updates" "$seed"; do
    [[ "$number" =~ ^[1-9][0-9]*$ ]] || die "$number is not a whole number of at least 1; see --help"
done

bash "$BAS_ROOT/scripts/setup.sh"
OMP_NUM_THREADS="${OMP_NUM_THREADS:-$("$BAS_PYTHON" -c 'import os; print(min(8, os.cpu_count()))')}"
export OMP_NUM_THREADS

if [ -n "$corpus" ]; then
    [ -d "$corpus" ] || die "$corpus is not a folder; give one with train, valid and test text"
    corpus="$(cd "$corpus" && pwd)"
    work="$out/$(basename "$corpus")-$(cksum <<<"$corpus" | cut -d' ' -f1)"
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

follow() { # follow PID LOG: a line for each validation until the process ends
    tail -n 0 -F --pid="$1" "$2" 2>/dev/null |
        sed -nu 's/.*| valid | .*"valid_loss": "\([^"]*\)".*"valid_num_updates": "\([^"]*\)".*/\2 \1/p' |
        while read -r update loss; do
            printf '   update %5s of %s   valid loss %s\n' "$update" "$updates" "$loss"
        done
}

system() { # system NAME M
    local run="$work/M$2-u$updates-seed$seed" every=$(((updates + 19) / 20)) trainer
    say "$1: $updates updates, M = $2"
    if [ ! -e "$run/done" ]; then
        mkdir -p "$run"
        touch "$run/train.log"
        train_small "$work/bin" "$run" --seed "$seed" --max-tokens 1500 --bas-replicas "$2" \
            --max-update "$updates" --log-interval "$every" --keep-interval-updates 1 \
            --validate-interval-updates "$every" --save-interval-updates "$every" &
        trainer=$!
        trap 'pkill -P "$trainer" 2>/dev/null; kill "$trainer" 2>/dev/null' EXIT
        follow "$trainer" "$run/train.log"
        wait "$trainer"
        trap - EXIT
    fi
    printf '   translating the test set\n'
    generate_small "$work/bin" "$run/checkpoint_best.pt" "$run/test.gen"
}

system "baseline" 1
system "batch augmentation" "$replicas"

say "result"
"$BAS_PYTHON" "$BAS_ROOT/scripts/quickstart_table.py" --ref "$corpus/test.tgt" --out "$work" \
    --runs "baseline=$work/M1-u$updates-seed$seed" "copies=$work/M$replicas-u$updates-seed$seed"
