#!/usr/bin/env bash
# What the plugin claims about time and memory, each claim measured against its peer, in turns:
# a JSON file for each benchmark and one table of claims, goals and measured ratios.
#
#   bash scripts/bench/run.sh [NAME ...] [options]
#     NAME              of benchmarks (default: all)
#       update          M = 4 rows against plain fairseq at equal rows: time, bytes, loader
#       plain           M = 1 without noise against plain fairseq
#       memory          M = 8 passes against M = 1: peak of an update
#       startup         importing the plugin beside importing fairseq; start on a million pairs
#       rdrop           R-Drop against fairseq's own criterion
#       loss            the chunked loss against fairseq's
#       noise           token noise and sampled subwords against fairseq's and sentencepiece's
#       lstm            LSTM layers and language models against bare kernels and fairseq's
#       scaling         predicted time per update on many workers, checked on this machine
#     --short           update, plain, loss and noise on tiny models, in about a minute: for CI
#     --data BIN        folder written by fairseq-preprocess (default: the quickstart's if it is
#                       there, else a made corpus)
#     --out DIR         default runs/bench
#     --list            print the names
#
# With a GPU: Transformer base, a vocabulary of 32,768, fp16 and bf16. Ratios do not matter for the
# exit code; a benchmark that fails does.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

all=(update plain memory startup rdrop loss noise lstm scaling)
names=() size="" data="" out="$BAS_ROOT/runs/bench"
while [ $# -gt 0 ]; do
    case "$1" in
    --list) printf '%s\n' "${all[@]}" && exit ;;
    --short) size=short ;;
    --data | --out | -h | --help)
        read_options "data out" "$1" "${@:2:1}"
        shift
        ;;
    -*) die "unknown option $1; see --help" ;;
    *)
        [[ " ${all[*]} " == *" $1 "* ]] || die "unknown benchmark $1; see --help"
        names+=("$1")
        ;;
    esac
    shift
done
bash "$BAS_ROOT/scripts/setup.sh"
cd "$BAS_ROOT"
on_gpu="$("$BAS_PYTHON" -c 'import torch; print("gpu" if torch.cuda.is_available() else "cpu")')"
size="${size:-$on_gpu}"
if [ ${#names[@]} -eq 0 ]; then
    names=("${all[@]}")
    [ "$size" != short ] || names=(update plain loss noise)
fi
export PYTHONWARNINGS=ignore
[ "$on_gpu" = gpu ] || use_threads
mkdir -p "$out"

need_data() { # need_data VOCAB: set data
    [ -z "$data" ] || return 0
    data="$BAS_ROOT/runs/quickstart/software/bin"
    if [ "$size" = cpu ] && [ -e "$data/done" ]; then return; fi
    data="$BAS_ROOT/runs/bench/made-$1"
    [ -e "$data/done" ] || "$BAS_PYTHON" scripts/bench/made_corpus.py "$data" --vocab "$1"
}

need_text() { # prose that comes with Python
    [ -e "$out/text/train.txt" ] || "$BAS_PYTHON" data/get_python_reference.py --out "$out/text"
}

failed=0 made=()
bench() { # bench FILE SCRIPT FLAGS...: run scripts/bench/SCRIPT.py; results go to FILE.json
    local file="$1" script="scripts/bench/$2.py" log="$out/$1.log"
    shift 2
    if [ ! -e "$script" ]; then
        say "$file: there is no $script"
        return
    fi
    say "$file: $script $*"
    rm -f "$out/$file.json"
    if "$BAS_PYTHON" "$script" "$@" --json "$out/$file.json" 2>"$log" && [ -e "$out/$file.json" ]; then
        made+=("$out/$file.json")
    else
        printf 'FAILED; its last words: %s (all of them: %s)\n' "$(tail -n 1 "$log")" "$log"
        failed=1
    fi
}

tiny=(--layers 1 --width 128 --threads 1 --cpu-time)
base=(--arch transformer --layers 6 --width 512 --num-workers 2)
precisions=(fp16 bf16)

run_update() {
    local precision criterion
    case "$size" in
    short) bench update update_time "$data" "${tiny[@]}" --tokens 300 --rounds 3 ;;
    cpu)
        bench update update_time "$data" --rounds 4
        bench update-defaults update_time "$data" --rounds 4 \
            --copies-criterion bas_cross_entropy
        ;;
    gpu)
        for precision in "${precisions[@]}"; do
            for criterion in label_smoothed_cross_entropy bas_cross_entropy; do
                bench "update-$precision-$criterion" update_time "$data" "${base[@]}" \
                    --precision "$precision" --tokens 4096 --updates 20 \
                    --copies-criterion "$criterion"
            done
        done
        ;;
    esac
}

run_plain() {
    local precision
    case "$size" in
    short) bench plain plain_time "$data" "${tiny[@]}" --tokens 400 --updates 8 --rounds 5 ;;
    cpu)
        # CPU time, an update a round: what others do on the machine moves a ratio by a tenth
        bench plain plain_time "$data" --tokens 1000 --updates 1 --rounds 30 --threads 1 \
            --cpu-time
        bench plain-small plain_time "$data" "${tiny[@]}" --tokens 400 --updates 10 --rounds 25
        ;;
    gpu)
        for precision in "${precisions[@]}"; do
            bench "plain-$precision" plain_time "$data" "${base[@]}" --precision "$precision" \
                --tokens 4096 --updates 20
            bench "plain-small-$precision" plain_time "$data" "${base[@]}" --layers 2 --width 256 \
                --precision "$precision" --tokens 1024 --updates 40
        done
        ;;
    esac
}

run_memory() {
    local precision
    if [ "$size" = gpu ]; then
        for precision in "${precisions[@]}"; do
            bench "memory-$precision" memory "$data" "${base[@]}" --precision "$precision" \
                --tokens 8192
        done
    else
        bench memory memory "$data" --layers 2 --width 256 --tokens 4000 --updates 1
    fi
}

run_startup() { bench startup startup; }

for_precisions() { # for_precisions NAME SCRIPT FLAGS...: with --short, or on the GPU in each
    local precision name="$1" script="$2"
    shift 2
    case "$size" in
    short) bench "$name" "$script" --short "$@" ;;
    cpu) bench "$name" "$script" "$@" ;;
    gpu)
        for precision in "${precisions[@]}"; do
            bench "$name-$precision" "$script" --device cuda --precision "$precision" "$@"
        done
        ;;
    esac
}

run_rdrop() { for_precisions rdrop rdrop; }
run_loss() { for_precisions loss chunked_loss; }

run_noise() {
    case "$size" in
    short)
        bench noise noise_time --calls 2 --rounds 2
        need_text
        bench subword subword_time "$out/text/train.txt" --short
        ;;
    *)
        bench noise noise_time "$data"
        need_text
        bench subword subword_time "$out/text/train.txt"
        ;;
    esac
}

run_lstm() {
    case "$size" in
    gpu) for_precisions lstm lstm --rounds 20 ;;
    *) bench lstm lstm --rounds 5 ;;
    esac
}

run_scaling() { bench scaling scaling "$data" --check; }

for name in "${names[@]}"; do
    case "$name" in
    update | plain | memory | noise | scaling) need_data "$([ "$size" = gpu ] && echo 32768 || echo 2000)" ;;
    esac
    "run_$name"
done
say "claims"
[ "$size" != short ] || printf 'On tiny models; the goals are those of the full sizes.\n'
[ ${#made[@]} -eq 0 ] || "$BAS_PYTHON" scripts/bench/bench_table.py --json "$out/claims.json" "${made[@]}"
exit "$failed"
