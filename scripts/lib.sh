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

prepare() { # prepare CORPUS OUT VOCAB: text -> subwords -> OUT/bin; what is done is kept
    local corpus="$1" out="$2" vocab="$3" split side
    [ -e "$out/bin/done" ] && return
    for split in train valid test; do
        for side in src tgt; do
            [ -s "$corpus/$split.$side" ] || die "$corpus/$split.$side is missing or empty; give a" \
                "folder with train, valid and test, each as .src and .tgt, a sentence a line"
        done
    done
    rm -rf "$out/bin"
    "$BAS_PYTHON" "$BAS_ROOT/data/subword.py" --corpus "$corpus" --out "$out" --vocab "$vocab"
    fairseq preprocess --source-lang src --target-lang tgt --joined-dictionary --workers 2 \
        --srcdict "$out/dict.txt" `: all subwords, as sampling makes some that the text lacks` \
        --trainpref "$out/train" --validpref "$out/valid" --testpref "$out/test" \
        --destdir "$out/bin" >"$out/preprocess.log" 2>&1 ||
        die "fairseq-preprocess failed; its last words: $(tail -n 1 "$out/preprocess.log")"
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
    local log="$1" key="$2" of="${3:+ of $3}" trainer update value
    shift 3
    mkdir -p "$(dirname "$log")"
    touch "$log"
    "$@" &
    trainer=$!
    # shellcheck disable=SC2064
    trap "pkill -P $trainer 2>/dev/null; kill $trainer 2>/dev/null" EXIT
    tail -n 0 -F --pid="$trainer" "$log" 2>/dev/null |
        sed -nu 's/.*| valid | .*"valid_'"$key"'": "\([^"]*\)".*"valid_num_updates": "\([^"]*\)".*/\2 \1/p' |
        while read -r update value; do
            printf '   update %5s%s   valid %s %s\n' "$update" "$of" "$key" "$value"
        done
    wait "$trainer"
    trap - EXIT
}

generate_small() { # generate_small BIN CHECKPOINT OUT: translate the test set into the log OUT
    local bin="$1" checkpoint="$2" out="$3"
    [ -e "$out" ] && return
    fairseq generate "$bin" --user-dir "$BAS_ROOT/fairseq_bas" --task bas_translation \
        --path "$checkpoint" --cpu --beam 4 --max-tokens 3000 --max-len-a 1.5 --max-len-b 10 \
        --required-batch-size-multiple 1 `: or fairseq drops the last sentences` \
        --remove-bpe sentencepiece --no-progress-bar >"$out.part" 2>"$out.err" ||
        die "fairseq-generate failed; its last words: $(tail -n 1 "$out.err")"
    mv "$out.part" "$out"
}
