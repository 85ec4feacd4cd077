# Shared by the language-model scripts: how a text becomes a model, and the stages of a recipe.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_text() { # need_text FOLDER: refuse a folder without train.txt, valid.txt and test.txt
    local split
    [ -d "$1" ] || die "$1 is not a folder; give one with train.txt, valid.txt and test.txt"
    for split in train valid test; do
        [ -s "$1/$split.txt" ] || die "$1/$split.txt is missing or empty; give a folder with" \
            "train.txt, valid.txt and test.txt, a sentence a line, words separated by spaces"
    done
}

prepare_text() { # prepare_text CORPUS BIN MIN_COUNT: text -> BIN, word by word; what is done is kept
    local corpus="$1" bin="$2" min_count="$3"
    [ -e "$bin/done" ] && return
    rm -rf "$bin"
    mkdir -p "$bin"
    fairseq preprocess --only-source --thresholdsrc "$min_count" --workers 1 --destdir "$bin" \
        --trainpref "$corpus/train.txt" --validpref "$corpus/valid.txt" \
        --testpref "$corpus/test.txt" >"$bin.log" 2>&1 ||
        die "fairseq-preprocess failed; its last words: $(tail -n 1 "$bin.log")"
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

device_flags() { # device_flags DEVICES REPLICAS STREAMS: into the arrays train_on and eval_on
    local devices="$1" replicas="$2" streams="$3" found
    found="$("$BAS_PYTHON" -c 'import torch; print(torch.cuda.device_count())')"
    [ "$devices" -le $((found > 0 ? found : 1)) ] ||
        die "--devices $devices is more than the $found GPUs that torch sees; give fewer"
    eval_on=(--distributed-world-size 1)
    [ "$found" -gt 0 ] || eval_on+=(--cpu)
    train_on=("${eval_on[@]}" --batch-size "$streams")
    if [ "$devices" -gt 1 ] && [ $((replicas % devices)) = 0 ]; then
        train_on=(--distributed-world-size "$devices" --batch-size "$streams"
            --bas-placement workers)
    elif [ "$devices" -gt 1 ]; then
        [ $((streams % devices)) = 0 ] || die "--devices $devices divides neither the $replicas" \
            "replicas nor the $streams streams of a batch; choose a number that does"
        train_on=(--distributed-world-size "$devices" --batch-size $((streams / devices)))
    fi
}

# A recipe sets getter, a script of data/; streams, the batch; epochs; and the arrays train_flags,
# fine_tune_flags (empty where there is no second stage) and small_flags, what --budget small
# changes. Then it calls lm_recipe.
lm_recipe() { # lm_recipe ARGS...
    local corpus="" out="" replicas=1 seed=1 devices=1 budget=full min_count="" name work run bin
    name="$(basename "$0" .sh)"
    read_options "corpus out replicas seed devices budget epochs min-count" "$@"
    lm_budget
    need_whole "$replicas" "$seed" "$devices" "$epochs" "$min_count"
    [ -z "$corpus" ] || need_text "$corpus"
    bash "$BAS_ROOT/scripts/setup.sh"
    use_threads
    device_flags "$devices" "$replicas" "$streams"
    lm_corpus
    say "preparing the text"
    bin="$work/bin-min$min_count"
    prepare_text "$corpus" "$bin" "$min_count"
    printf '%s words in the dictionary\n' "$(wc -l <"$bin/dict.txt")"
    run="$work/M$replicas-e$epochs-seed$seed-min$min_count"
    train_flags+=(--bas-replicas "$replicas" --seed "$seed" --max-epoch "$epochs")
    lm_stage "training" "$run" "${train_flags[@]}"
    [ ${#fine_tune_flags[@]} = 0 ] || lm_stage "fine-tuning" "$run/fine-tuned" \
        "${train_flags[@]}" "${fine_tune_flags[@]}" --finetune-from-model "$run/checkpoint_best.pt"
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

lm_corpus() { # the text, and the folder to work in
    work="$out"
    if [ -n "$corpus" ]; then
        corpus="$(cd "$corpus" && pwd)"
        work="$(own_folder "$out" "$corpus")"
    else
        corpus="$out/corpus"
        say "getting the text"
        if [ "$budget" = small ]; then
            "$BAS_PYTHON" "$BAS_ROOT/data/get_python_reference.py" --out "$corpus"
        else
            bash "$BAS_ROOT/data/$getter" --out "$corpus"
        fi
    fi
}

lm_stage() { # lm_stage WHAT RUN FLAGS...: train and evaluate the best checkpoint
    local what="$1" run="$2" show=()
    shift 2
    say "$what: M = $replicas, at most $epochs epochs"
    [ -e "$run/done" ] || show=(followed "$run/train.log" ppl "")
    "${show[@]}" train_text "$bin" "$run" "${train_on[@]}" "$@"
    both_perplexities "$bin" "$run/checkpoint_best.pt" "$run" "${eval_on[@]}"
    printf 'perplexity after %s: valid %s, test %s\n' "$what" \
        "$(read_perplexity "$run/valid.ppl")" "$(read_perplexity "$run/test.ppl")"
}
