# Shared by the recipes for translation: from a corpus to a score.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/lib_stages.sh"

TRANSLATION_STAGES=(get clean subword binarise train average generate score)
TRANSLATION_OPTIONS="$RECIPE_OPTIONS recipe rows max-tokens precision"
recipe=copies rows="" max_tokens="" precision="" vocab="" own_updates="" own_text=""

# A recipe sets
#   get            command that makes the folder of the raw text, its name to be added
#   got            what that depends on, in words
#   clean          flags of data/clean_pairs.py
#   subword        vocabulary size and flags of data/subword.py
#   variant        the name of its runs, empty where there is but one kind
#   model          flags of the model, the loss and the optimizer
#   lr warmup updates     peak of the learning rate; updates until there, and in all
#   batch max_tokens      tokens of an update, and of a device in one pass
#   save_every keep       updates between checkpoints, and how many of them are averaged; a prime,
#                         as fairseq saves none of its own for an update that ends an epoch
#   copies         flags of --recipe copies
#   beam           flags of fairseq-generate
#   score          flags of fairseq-bas score
#   tests          names of the test sets, in the order test, test1, ...
# and then calls translation_recipe. It may set rows, the copies side by side in a pass. With
# --budget small it gets toy text, unless own_text is set, and vocab and own_updates if they are.
translation_recipe() {
    work="$out"
    [ "$budget" != small ] || small_budget
    need_whole "$seed" "$max_tokens" ${replicas:+"$replicas"} ${rows:+"$rows"}
    check_recipe
    bash "$BAS_ROOT/scripts/setup.sh"
    choose_devices
    device_flags
    choose_stages "${TRANSLATION_STAGES[@]}"
    lock_out "$work"
    stage folder get "$work/raw" "$got" "${get[@]}"
    stage folder clean "$work/corpus" "${clean[*]}" clean_text
    stage folder subword "$work/subword" "${subword[*]}" \
        segment_into "$work/corpus" "${subword[@]}"
    stage folder binarise "$work/bin" "" binarise_into "$work/subword"
    if stages_remain; then run_stages; fi
}

run_stages() { # the stages of a run
    local flags run checkpoint index
    method_flags
    run="$work/runs/${variant:+$variant-}$recipe${replicas:+-M$replicas}-seed$seed"
    flags=("${model[@]}" --task bas_translation --source-lang src --target-lang tgt --lr "$lr"
        --seed "$seed" "${method[@]}" --validate-interval 1000000 --save-interval 1
        --validate-interval-updates "$save_every" --save-interval-updates "$save_every"
        --keep-interval-updates "$keep" --log-interval "$(((save_every + 9) / 10))")
    stage place train "$run" "${flags[*]} batch $batch" train_run "${flags[@]}"
    checkpoint="$run/average.pt"
    stage file average "$checkpoint" "$keep" average_run "$run"
    for index in "${!tests[@]}"; do
        stage_each generate "$run/test${index#0}.gen" "${beam[*]}" translate "$checkpoint" "$index"
    done
    end_stage generate
    for index in "${!tests[@]}"; do
        stage_each score "$run/test${index#0}.score" "${score[*]}" score_run "$run" "$index"
    done
    end_stage score
}

check_recipe() { # are --budget and --recipe known, and does --replicas go with it?
    [ "$budget" = full ] || [ "$budget" = small ] ||
        die "--budget $budget is not known; leave it out, or pass --budget small"
    case "$recipe" in
    copies | few-updates | growth-copies) ;;
    baseline | growth)
        [ -z "$replicas" ] || die "--recipe $recipe has one copy; leave --replicas out"
        ;;
    *) die "--recipe $recipe is not one of: baseline copies few-updates growth growth-copies" ;;
    esac
}

device_flags() { # what fairseq-train needs on this hardware: into the array hardware
    hardware=(--max-tokens "$max_tokens" --update-freq "$(passes_of "$workers")")
    [ -z "$rows" ] || hardware+=(--bas-replicas-per-pass "$rows")
    if [ ${#on_device[@]} -gt 0 ]; then # the CPU
        precision="${precision:-float32}"
        hardware+=(--num-workers 0)
    fi
    case "${precision:=fp16}" in
    float32) ;;
    fp16 | bf16) hardware+=("--$precision") ;;
    *) die "--precision $precision is not one of: fp16 bf16 float32" ;;
    esac
}

method_flags() { # what --recipe means: into the array method
    local plain=(--lr-scheduler inverse_sqrt --warmup-init-lr 1e-07
        --warmup-updates "$warmup" --max-update "$updates")
    case "$recipe" in
    baseline) method=("${plain[@]}" --bas-replicas 1) ;;
    copies) method=("${plain[@]}" "${copies[@]}" ${replicas:+--bas-replicas "$replicas"}) ;;
    few-updates)
        decay_over 2
        method+=(--bas-replicas "${replicas:-4}" --max-update "$updates" --bas-lr-scaling sqrt
            --bas-batch-schedule noise-scale:fraction=1,max=8x,every=20,smoothing=0.9)
        ;;
    growth*)
        decay_over 1
        method+=(--bas-batch-schedule smith:max=8x)
        [ "$recipe" = growth ] ||
            method+=(--bas-replicas "1@0,${replicas:-2}@$(((epochs + 1) / 2))e")
        ;;
    esac
}

# A decay that follows the text, for batches that grow: over TIMES the text that the plain run would
# read (docs/schedules.md).
decay_over() { # decay_over TIMES: into the array method, and epochs
    local in_epoch
    in_epoch="$(updates_in_epoch)"
    epochs=$((($1 * updates + in_epoch / 2) / in_epoch))
    epochs=$((epochs > 1 ? epochs : 2))
    method=(--lr-scheduler bas_scaled --bas-base-schedule polynomial_decay
        --bas-reference-batch 1x --bas-lr-clock samples
        --warmup-updates "$((warmup < updates / 4 ? warmup : updates / 4))"
        --total-num-update $((epochs * in_epoch)) --max-epoch "$epochs")
}

updates_in_epoch() { # of the plain run, on one device; known once the text is binarised
    local plan="$work/bin/epoch-$max_tokens.json"
    [ -e "$plan" ] || {
        bas plan "$work/bin" "${model[@]}" --task bas_translation --lr "$lr" \
            --user-dir "$BAS_ROOT/fairseq_bas" --max-tokens "$max_tokens" --max-epoch 1 --cpu \
            --no-memory --json "$plan.part" >/dev/null 2>"$plan.err" ||
            die "the plan of an epoch failed; its last words: $(tail -n 1 "$plan.err")"
        mv "$plan.part" "$plan"
    }
    "$BAS_PYTHON" -c 'import json, sys
with open(sys.argv[1]) as file:
    print(-(-json.load(file)["epoch"]["micro_batches"] // int(sys.argv[2])))' \
        "$plan" "$(passes_of 1)"
}

passes_of() { # passes_of WORKERS: how many passes of each make the batch
    local passes=$(((batch + max_tokens * $1 / 2) / (max_tokens * $1)))
    echo $((passes > 1 ? passes : 1))
}

clean_text() { # clean_text OUT
    "$BAS_PYTHON" "$BAS_ROOT/data/clean_pairs.py" --raw "$work/raw" --out "$1" "${clean[@]}"
}

segment_into() { # segment_into CORPUS VOCAB FLAGS... OUT
    segment_pairs "$1" "${!#}" "${@:2:$#-2}"
}

binarise_into() { # binarise_into TEXT BIN
    binarise_pairs "$1" "$2" "$work/preprocess.log"
}

train_run() { # train_run FLAGS... RUN, with a line for each validation
    local run="${!#}"
    followed "$(train_log "$run")" loss "$([[ "$recipe" = growth* ]] || echo "$updates")" \
        train_into "$work/bin" "${@:1:$#-1}" "${hardware[@]}" "$run"
}

average_run() { # average_run RUN OUT: of the last checkpoints
    local files=("$1"/checkpoint_*_*.pt)
    [ -e "${files[0]}" ] || files=()
    bas average "${files[@]}" "$1/checkpoint_last.pt" --last "$keep" --out "$2"
}

translate() { # translate CHECKPOINT INDEX OUT
    generate "$work/bin" "$1" "$3" --gen-subset "test${2#0}" "${beam[@]}" "${on_device[@]}" \
        --max-tokens "$((2 * max_tokens))"
}

score_run() { # score_run RUN INDEX OUT
    bas score --ref "$work/corpus/test${2#0}.tgt" "$1/test${2#0}.gen" \
        --name "${tests[$2]}, $recipe" --json "$3.json" "${score[@]}" >"$3.part"
    cat "$3.part"
    mv "$3.part" "$3"
}

# A Transformer and a corpus that one core is done with in seconds: the same stages, on toy text.
small_budget() {
    work="$out/small"
    [ -n "$own_text" ] || get=(toy_corpus) got="toy corpus"
    subword=("${vocab:-200}" "${subword[@]:1}")
    model+=(--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32
        --encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 2
        --decoder-attention-heads 2)
    lr=0.003 warmup=10 updates="${own_updates:-40}" batch=800 max_tokens=800 save_every=7 keep=3
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # more do not help a tiny model
}

toy_corpus() { # toy_corpus OUT
    local index
    "$BAS_PYTHON" "$BAS_ROOT/data/make_toy.py" --out "$1" --train 400 --valid 40 --test 40
    [[ "${clean[*]}" != *--valid-every* ]] || rm "$1"/valid.* # it is split off
    for index in "${!tests[@]}"; do
        [ "$index" = 0 ] || cp "$1/test.src" "$1/test$index.src"
        [ "$index" = 0 ] || cp "$1/test.tgt" "$1/test$index.tgt"
    done
}
