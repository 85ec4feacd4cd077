#!/usr/bin/env bash
# What a small batch, a large batch, and a large batch with copies end in: sharpness, Hessian, the
# line between them, gradient noise scale and the worth of copies, for every seed. Ends with a table.
#
#   scripts/bench/curvature.sh --corpus DIR --out DIR
#     [--systems FILE]     default: scripts/bench/batch_systems_curvature.txt
#     [--seeds "1 2"] [--jobs 1]
#     [--train-pairs 2000] [--vocab 2000]
#     [--sentences 256]    of the training text, for everything but gradient noise
#
# Trains what is missing by batch_grid.sh, in OUT; the systems are compared as the first against the
# others. Reports and figures are in OUT/reports/seedN. Safe to interrupt and call again.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib_grid.sh"

corpus="" out="" systems="$BAS_ROOT/scripts/bench/batch_systems_curvature.txt" seeds="1 2" jobs=1
train_pairs=2000 vocab=2000 sentences=256
read_options "corpus out systems seeds jobs train-pairs vocab sentences" "$@"
[ -n "$corpus" ] && [ -n "$out" ] || die "--corpus and --out are needed; see --help"
need_whole "$jobs" "$train_pairs" "$vocab" "$sentences" $seeds
[ -n "$seeds" ] || die "--seeds needs a number at least; see --help"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

bash "$BAS_ROOT/scripts/bench/batch_grid.sh" --corpus "$corpus" --out "$out" --systems "$systems" \
    --seeds "$seeds" --jobs "$jobs" --train-pairs "$train_pairs" --vocab "$vocab"

read_systems
report() { # report FOLDER NAME COMMAND FLAGS...: FOLDER/NAME.json, .png and .txt
    local folder="$1" name="$2"
    shift 2
    [ ! -s "$folder/$name.json" ] || return 0
    say "$name, $(basename "$folder")"
    "$BAS_PYTHON" -m fairseq_bas "$1" "$out/bin" --cpu --figure "$folder/$name.png" \
        --json "$folder/$name.tmp" "${@:2}" >"$folder/$name.txt"
    mv "$folder/$name.tmp" "$folder/$name.json"
}

for seed in $seeds; do
    folder="$out/reports/seed$seed" first="" all="" alone=""
    mkdir -p "$folder"
    for name in "${names[@]}"; do
        checkpoint="$out/runs/$name-seed$seed/checkpoint_last.pt"
        [ -e "$checkpoint" ] || die "$checkpoint is missing: that run diverged; leave it out of $systems"
        all="$all${all:+:}$checkpoint"
        [ -n "$first" ] || first="$checkpoint"
    done
    text=(--sentences "$sentences" --seed 1)
    report "$folder" sharpness sharpness --path "$all" "${text[@]}"
    report "$folder" sharpness-full sharpness --path "$all" --full --starts 2 "${text[@]}"
    report "$folder" hessian hessian --path "$all" --top 3 --trace-vectors 10 --density-steps 30 \
        --density-vectors 1 "${text[@]}"
    report "$folder" noise-scale noise-scale --path "$all"
    for name in "${names[@]:1}"; do
        checkpoint="$out/runs/$name-seed$seed/checkpoint_last.pt"
        report "$folder" "line-$name" landscape --path "$first:$checkpoint" --split train,valid \
            "${text[@]}"
    done
    report "$folder" replica-variance replica-variance --path "$first" \
        --noise "mask=--bas-source-noise mask=0.1 --bas-target-noise mask=0.1"
done
"$BAS_PYTHON" "$BAS_ROOT/scripts/bench/curvature_table.py" --reports "$out/reports" --seeds "$seeds"
