# Shared by the language-model scripts: how a text becomes a model, and the stages of a recipe.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/lib_stages.sh"

need_text() { # need_text FOLDER: refuse a folder without train.txt, valid.txt and test.txt
    local split
    [ -d "$1" ] || die "$1 is not a folder; give one with train.txt, valid.txt and test.txt"
    for split in train valid test; do
        [ -s "$1/$split.txt" ] || die "$1/$split.txt is missing or empty; give a folder with" \
            "train.txt, valid.txt and test.txt, a sentence a line, words separated by spaces"
    done
}

prepare_text() { # prepare_text CORPUS BIN MIN_COUNT [LOG]: text -> BIN, by words; kept if done
    local corpus="$1" bin="$2" min_count="$3" log="${4:-$2.log}"
    [ -e "$bin/done" ] && return
    rm -rf "$bin"
    mkdir -p "$bin"
    fairseq preprocess --only-source --thresholdsrc "$min_count" --workers 1 --destdir "$bin" \
        --trainpref "$corpus/train.txt" --validpref "$corpus/valid.txt" \
        --testpref "$corpus/test.txt" >"$log" 2>&1 ||
        die "fairseq-preprocess failed; its last words: $(tail -n 1 "$log")"
    touch "$bin/done"
}

train_text() { # train_text BIN RUN FLAGS...: a language model into RUN; resumes what was interrupted
    local bin="$1" run="$2" flags
    shift 2
    flags="$*"
    [ ! -e "$run/flags" ] || [ "$(<"$run/flags")" = "$flags" ] || die "$run was trained with other" \
        "flags, which are in the file flags there; choose another --out, or delete it"
    [ -e "$run/done" ] && return
    mkdir -p "$run"
    printf '%s\n' "$flags" >"$run/flags"
    fairseq train "$bin" --user-dir "$BAS_ROOT/fairseq_bas" --task bas_language_modeling \
        --save-dir "$run" --num-workers 0 --no-progress-bar --log-format json \
        --no-epoch-checkpoints "$@" >>"$run/train.log" 2>&1 ||
        die "training stopped; its last words: $(tail -n 1 "$run/train.log") (all of them: $run/train.log)"
    touch "$run/done"
}

perplexity() { # perplexity BIN CHECKPOINT SPLIT LOG FLAGS...: over the whole text, state carried
    local bin="$1" checkpoint="$2" split="$3" log="$4"
    shift 4
    [ -e "$log" ] && return
    fairseq eval_lm "$bin" --user-dir "$BAS_ROOT/fairseq_bas" --task bas_language_modeling \
        --path "$checkpoint" --gen-subset "$split" --no-progress-bar "$@" >"$log.part" 2>&1 ||
        die "fairseq-eval-lm failed; its last words: $(tail -n 1 "$log.part")"
    mv "$log.part" "$log"
}

both_perplexities() { # both_perplexities BIN CHECKPOINT RUN FLAGS...: logs RUN/valid.ppl, RUN/test.ppl
    local bin="$1" checkpoint="$2" run="$3" first
    shift 3
    perplexity "$bin" "$checkpoint" valid "$run/valid.ppl" "$@" &
    first=$!
    perplexity "$bin" "$checkpoint" test "$run/test.ppl" "$@"
    wait "$first"
}

read_perplexity() { # read_perplexity LOG
    sed -n 's/.*Perplexity: \([0-9.]*\).*/\1/p' "$1"
}

streams_on() { # streams_on STREAMS: how workers share them, into the array hardware; see eval_on
    eval_on=(--distributed-world-size 1 "${on_device[@]}")
    hardware=(--num-workers 0 --batch-size "$1")
    if [ "$workers" -gt 1 ] && [ $((replicas % workers)) = 0 ]; then
        hardware+=(--bas-placement workers)
    elif [ "$workers" -gt 1 ]; then
        [ $(($1 % workers)) = 0 ] || die "$workers devices share neither the $replicas replicas" \
            "nor the $1 streams of a batch evenly; choose a number that does"
        hardware+=(--batch-size $(($1 / workers)))
    fi
}

# A recipe sets getter, a script of data/; streams, the batch; full_epochs; and the arrays
# train_flags, fine_tune_flags (empty where there is no second stage) and small_flags, what
# --budget small changes. One for any text sets text, names each with a file, and clean=yes where
# data/clean_text.py is to clean and split it. Then it calls lm_recipe.
LM_OPTIONS="$RECIPE_OPTIONS corpus epochs min-count recipe"
corpus="" epochs="" min_count="" recipe="" text=() clean=""
lm_recipe() { # lm_recipe ARGS...
    local name work run bin stages=(get binarise train) flags
    name="$(basename "$0" .sh)"
    read_options "$LM_OPTIONS" "$@"
    lm_budget
    lm_copies
    need_whole "$replicas" "$seed" "$epochs" "$min_count"
    [ -z "$corpus" ] || need_text "$corpus"
    bash "$BAS_ROOT/scripts/setup.sh"
    choose_devices
    streams_on "$streams"
    [ -z "$clean" ] || stages=(get clean binarise train)
    [ ${#fine_tune_flags[@]} = 0 ] || stages+=(fine-tune)
    choose_stages "${stages[@]}" score
    lm_corpus
    bin="$work/bin-min$min_count"
    stage folder binarise "$bin" "words seen $min_count times" binarise_text "$bin" "$min_count"
    run="$work/M$replicas-e$epochs-seed$seed-min$min_count"
    flags=("${train_flags[@]}" --bas-replicas "$replicas" --seed "$seed" --max-epoch "$epochs")
    stage place train "$run" "${flags[*]} $streams streams" train_on "${flags[@]}"
    [ ${#fine_tune_flags[@]} = 0 ] ||
        stage place fine-tune "$run/fine-tuned" "${flags[*]} ${fine_tune_flags[*]}" train_on \
            "${flags[@]}" "${fine_tune_flags[@]}" --finetune-from-model "$run/checkpoint_best.pt"
    stage_each score "$run/score" "" score_text training
    [ ${#fine_tune_flags[@]} = 0 ] ||
        stage_each score "$run/fine-tuned/score" "" score_text fine-tuning
    end_stage score
}

lm_budget() { # what --budget means
    out="${out:-$BAS_ROOT/runs/${name#train_}}"
    case "$budget" in
    full) min_count="${min_count:-1}" epochs="${epochs:-$full_epochs}" ;;
    small)
        min_count="${min_count:-2}" epochs="${epochs:-2}" out="$out/small"
        train_flags+=("${small_flags[@]}")
        export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # more do not help a tiny model
        ;;
    *) die "--budget $budget is not known; leave it out, or pass --budget small" ;;
    esac
}

lm_copies() { # what --recipe and --replicas mean
    case "$recipe" in
    "") replicas="${replicas:-1}" ;;
    copies) replicas="${replicas:-4}" ;;
    baseline)
        [ "${replicas:-1}" = 1 ] || die "--recipe baseline has one copy; leave --replicas out"
        replicas=1
        ;;
    *) die "--recipe $recipe is not one of: baseline copies" ;;
    esac
}

lm_corpus() { # the text, and the folder to work in
    local get got split folder=corpus
    work="$out"
    if [ -n "$corpus" ]; then
        corpus="$(cd "$corpus" && pwd)"
        work="$(own_folder "$out" "$corpus")"
        for split in train valid test; do text+=("$split.txt" "$corpus/$split.txt"); done
    fi
    if [ ${#text[@]} -gt 0 ]; then
        get=(copy_text "${text[@]}") got="$(sums "${text[@]}")"
    elif [ "$budget" = small ]; then
        get=("$BAS_PYTHON" "$BAS_ROOT/data/get_python_reference.py" --out) got="Python reference"
    else
        get=(bash "$BAS_ROOT/data/$getter" --out) got="$getter"
    fi
    [ -z "$clean" ] || folder=raw
    lock_out "$work"
    stage folder get "$work/$folder" "$got" "${get[@]}"
    [ -z "$clean" ] || stage folder clean "$work/corpus" "" \
        "$BAS_PYTHON" "$BAS_ROOT/data/clean_text.py" --raw "$work/raw" --out
}

binarise_text() { # binarise_text BIN MIN_COUNT OUT
    prepare_text "$work/corpus" "$3" "$2" "$1.log"
    printf '%s words in the dictionary\n' "$(wc -l <"$3/dict.txt")"
}

train_on() { # train_on FLAGS... RUN, with a line for each validation
    local run="${!#}"
    followed "$(train_log "$run")" ppl "" train_into "$bin" --task bas_language_modeling \
        "${@:1:$#-1}" "${hardware[@]}" "$run"
}

score_text() { # score_text WHAT OUT: perplexities of the best checkpoint beside OUT
    local run
    run="$(dirname "$2")"
    rm -f "$run/valid.ppl" "$run/test.ppl"
    both_perplexities "$bin" "$run/checkpoint_best.pt" "$run" "${eval_on[@]}"
    printf 'perplexity after %s: valid %s, test %s\n' "$1" \
        "$(read_perplexity "$run/valid.ppl")" "$(read_perplexity "$run/test.ppl")" >"$2.part"
    cat "$2.part"
    mv "$2.part" "$2"
}
