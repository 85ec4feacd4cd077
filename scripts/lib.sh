# Shared by the scripts: where the repository is, which Python runs, how a corpus becomes a model.
# shellcheck shell=bash
set -euo pipefail

BAS_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export PYTHONUNBUFFERED=1
source "$BAS_ROOT/scripts/lib_python.sh"

say() { printf '\n== %s\n' "$*"; }

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

read_options() { # read_options "NAME..." ARGS...: each --NAME VALUE into the variable NAME
    local names=" $1 " name
    shift
    while [ $# -gt 0 ]; do
        if [ "$1" = -h ] || [ "$1" = --help ]; then # the comment at the head of the script
            sed -n '2,/^source/{/^#/s/^# \{0,1\}//p}' "$0"
            exit 0
        fi
        name="${1#--}"
        [[ "$1" == --* && "$names" == *" $name "* ]] || die "unknown option $1; see --help"
        [ $# -ge 2 ] || die "$1 needs a value; see --help"
        printf -v "${name//-/_}" %s "$2"
        shift 2
    done
}

need_whole() { # need_whole NUMBER...: refuse what is not 1, 2, 3, ...
    local number
    for number in "$@"; do
        [[ "$number" =~ ^[1-9][0-9]*$ ]] ||
            die "$number is not a whole number of at least 1; see --help"
    done
}

use_threads() { # as many as there are cores, up to 8, unless the user has said how many
    OMP_NUM_THREADS="${OMP_NUM_THREADS:-$("$BAS_PYTHON" -c 'import os; print(min(8, os.cpu_count()))')}"
    export OMP_NUM_THREADS
}

own_folder() { # own_folder OUT CORPUS: a folder in OUT for work on this corpus
    printf '%s/%s-%s' "$1" "$(basename "$2")" "$(cksum <<<"$2" | cut -d' ' -f1)"
}

fairseq() { # fairseq train|generate|preprocess ARGS...
    local command="$1"
    shift
    "$BAS_PYTHON" -m "fairseq_cli.$command" "$@"
}

bas() { # bas COMMAND ARGS...: fairseq-bas
    PYTHONPATH="$BAS_ROOT${PYTHONPATH:+:$PYTHONPATH}" "$BAS_PYTHON" -m fairseq_bas "$@"
}

need_pairs() { # need_pairs CORPUS: refuse a folder that lacks one of train, valid and test
    local split side
    for split in train valid test; do
        for side in src tgt; do
            [ -s "$1/$split.$side" ] || die "$1/$split.$side is missing or empty; give a" \
                "folder with train, valid and test, each as .src and .tgt, a sentence a line"
        done
    done
}

segment_pairs() { # segment_pairs CORPUS OUT VOCAB [FLAGS of subword.py]: text -> subwords
    local corpus="$1" out="$2" vocab="$3"
    shift 3
    "$BAS_PYTHON" "$BAS_ROOT/data/subword.py" --corpus "$corpus" --out "$out" --vocab "$vocab" "$@"
}

binarise_pairs() { # binarise_pairs TEXT BIN LOG: subwords -> BIN; test sets are test, test1, ...
    local text="$1" bin="$2" log="$3" tests="$1/test" more
    for more in "$text"/test[1-9].src; do
        [ ! -e "$more" ] || tests+=",${more%.src}"
    done
    fairseq preprocess --source-lang src --target-lang tgt --joined-dictionary --workers 2 \
        --srcdict "$text/dict.txt" `: all subwords, as sampling makes some that the text lacks` \
        --trainpref "$text/train" --validpref "$text/valid" --testpref "$tests" \
        --destdir "$bin" >"$log" 2>&1 ||
        die "fairseq-preprocess failed; its last words: $(tail -n 1 "$log")"
}

prepare() { # prepare CORPUS OUT VOCAB: text -> subwords -> OUT/bin; what is done is kept
    local corpus="$1" out="$2" vocab="$3"
    [ -e "$out/bin/done" ] && return
    need_pairs "$corpus"
    rm -rf "$out/bin"
    segment_pairs "$corpus" "$out" "$vocab"
    binarise_pairs "$out" "$out/bin" "$out/preprocess.log"
    touch "$out/bin/done"
}

# A Transformer that two cores train in minutes. One layer, width 128, dropout 0.3.
SMALL_MODEL=(
    --task bas_translation --arch transformer_iwslt_de_en
    --encoder-layers 1 --decoder-layers 1 --share-all-embeddings
    --encoder-embed-dim 128 --encoder-ffn-embed-dim 256 --encoder-attention-heads 4
    --decoder-embed-dim 128 --decoder-ffn-embed-dim 256 --decoder-attention-heads 4
    --dropout 0.3 --criterion bas_cross_entropy --label-smoothing 0.1
    --optimizer adam --adam-betas "(0.9, 0.98)" --clip-norm 1.0
    --lr 0.003 --lr-scheduler inverse_sqrt --warmup-updates 200
)

train_small() { # train_small BIN RUN FLAGS...: into RUN; resumes what was interrupted
    local bin="$1" run="$2"
    shift 2
    [ -e "$run/done" ] && return
    mkdir -p "$run"
    fairseq train "$bin" --user-dir "$BAS_ROOT/fairseq_bas" --save-dir "$run" "${SMALL_MODEL[@]}" \
        --cpu --num-workers 0 --no-progress-bar --log-format json --no-epoch-checkpoints \
        --validate-interval 1000000 --save-interval 1000000 "$@" >>"$run/train.log" 2>&1 ||
        die "training stopped; its last words: $(tail -n 1 "$run/train.log") (all of them: $run/train.log)"
    touch "$run/done"
}

followed() { # followed LOG KEY UPDATES COMMAND...: run it, with a line for each validation in LOG
    local log="$1" key="$2" of="${3:+ of $3}" trainer watcher told code
    shift 3
    mkdir -p "$(dirname "$log")"
    touch "$log"
    "$@" &
    trainer=$!
    tell_validations "$log" "$key" "$of" "$trainer" &
    watcher=$!
    # What COMMAND started saves when it is told to stop, and is waited for.
    # shellcheck disable=SC2064
    trap "pkill -TERM -P $trainer 2>/dev/null; wait $trainer 2>/dev/null" EXIT
    # shellcheck disable=SC2064
    trap "told=1; pkill -TERM -P $trainer 2>/dev/null || :" TERM
    # shellcheck disable=SC2064
    trap "told=1; pkill -USR1 -P $trainer 2>/dev/null || :" USR1
    told=1
    while [ -n "$told" ]; do # a signal ends wait, not COMMAND
        told="" code=0
        wait "$trainer" || code=$?
    done
    trap - EXIT TERM USR1
    wait "$watcher" || :
    return "$code"
}

tell_validations() { # tell_validations LOG KEY OF PROCESS: as LOG grows, until PROCESS ends
    local update value
    tail -n 0 -F --pid="$4" "$1" 2>/dev/null |
        sed -nu 's/.*| valid | .*"valid_'"$2"'": "\([^"]*\)".*"valid_num_updates": "\([^"]*\)".*/\2 \1/p' |
        while read -r update value; do
            printf '   update %5s%s   valid %s %s\n' "$update" "$3" "$2" "$value"
        done
}

generate() { # generate BIN CHECKPOINT OUT FLAGS...: translate a test set into the log OUT
    local bin="$1" checkpoint="$2" out="$3"
    shift 3
    fairseq generate "$bin" --user-dir "$BAS_ROOT/fairseq_bas" --task bas_translation \
        --path "$checkpoint" --required-batch-size-multiple 1 `: or it drops the last sentences` \
        --remove-bpe sentencepiece --no-progress-bar "$@" >"$out.part" 2>"$out.err" ||
        die "fairseq-generate failed; its last words: $(tail -n 1 "$out.err")"
    mv "$out.part" "$out"
}

generate_small() { # generate_small BIN CHECKPOINT OUT: of a small model, on a CPU, if not done yet
    [ -e "$3" ] || generate "$@" --cpu --beam 4 --max-tokens 3000 --max-len-a 1.5 --max-len-b 10
}
