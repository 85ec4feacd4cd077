#!/usr/bin/env bash
# Whether workers that exchange weights with two neighbours train as well as workers that add up their
# gradients: a small Transformer on processes of this machine, by momentum SGD with all-reduce, by
# DecentLaM and by DmSGD. Ends with a table of validation losses.
#
#   scripts/bench/decentlam.sh --corpus DIR --out DIR [options]
#     --workers N       processes of every run, each with one thread (default 4)
#     --updates U       updates of every run (default 2000)
#     --tokens N        target tokens a batch of one worker, --max-tokens (default 375)
#     --lr LR           largest learning rate (default 0.5)
#     --momentum B      (default 0.9)
#     --topology NAME   ring, grid, exponential or full (default ring)
#     --seeds "1 2"     (default "1 2 3")
#     --vocab N         subwords (default 2000)
#     --flags "..."     more flags for every run, e.g. "--bas-replicas 4"
#
# One run at a time. Safe to interrupt and call again.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib_grid.sh"

corpus="" out="" workers=4 updates=2000 tokens=375 lr=0.5 momentum=0.9 topology=ring
seeds="1 2 3" vocab=2000 flags=""
read_options "corpus out workers updates tokens lr momentum topology seeds vocab flags" "$@"
[ -n "$corpus" ] && [ -n "$out" ] || die "--corpus and --out are needed; see --help"
[ -d "$corpus" ] || die "$corpus is not a folder; give --corpus one with train, valid and test text"
corpus="$(cd "$corpus" && pwd)"
need_whole "$workers" "$updates" "$tokens" "$vocab" $seeds
[ "$workers" -gt 1 ] || die "--workers 1 has no neighbours; give 2 or more"
[ -n "$seeds" ] || die "--seeds needs a number at least; see --help"
export OMP_NUM_THREADS=1
mkdir -p "$out"
out="$(cd "$out" && pwd)" # a file by which workers find each other needs a whole path
bin="$out/bin"

without_optimizer() { # FLAGS...: into MODEL, without those of the optimizer
    MODEL=()
    while [ $# -gt 0 ]; do
        case "$1" in
        --optimizer | --adam-betas | --lr) shift 2 ;;
        *)
            MODEL+=("$1")
            shift
            ;;
        esac
    done
}

train_workers() { # train_workers RUN FLAGS...: one process a worker; resumes what was interrupted
    local run="$1" rank log process failed=0
    local -a processes=()
    shift
    rm -f "$run/meeting"
    trap 'kill "${processes[@]}" 2>/dev/null' EXIT
    for ((rank = 0; rank < workers; rank++)); do
        log="$run/worker$rank.log"
        [ "$rank" != 0 ] || log="$run/train.log"
        fairseq train "$bin" --user-dir "$BAS_ROOT/fairseq_bas" --save-dir "$run" \
            "${SMALL_MODEL[@]}" --cpu --num-workers 0 --no-progress-bar --log-format json \
            --no-epoch-checkpoints --validate-interval 1000000 --save-interval 1000000 \
            --distributed-world-size "$workers" --distributed-rank "$rank" --distributed-no-spawn \
            --distributed-init-method "file://$run/meeting" --distributed-backend gloo \
            --ddp-backend legacy_ddp "$@" >>"$log" 2>&1 &
        processes+=($!)
    done
    for process in "${processes[@]}"; do wait "$process" || failed=1; done
    trap - EXIT
    [ "$failed" = 0 ]
}

one_run() { # one_run NAME SEED, in a process of its own
    local run="$out/runs/$1-seed$2" every=$(((updates + 9) / 10)) # ten validations, the last one at the end
    local -a own
    read -ra own <<<"${flags_of[$1]} $flags"
    mkdir -p "$run"
    made_with "--workers $workers --max-update $updates --max-tokens $tokens ${own[*]}" \
        "$run/settings" "$run/checkpoint_last.pt"
    [ ! -e "$run/done" ] || return 0
    train_workers "$run" --seed "$2" --max-update "$updates" --max-tokens "$tokens" \
        --validate-interval-updates "$every" --save-interval-updates "$every" \
        --keep-interval-updates 1 --log-interval "$every" "${own[@]}" ||
        die "training stopped; its last words: $(tail -n 1 "$run/train.log") (all of them: $run/*.log)"
    touch "$run/done"
    printf '%s finished\n' "$(basename "$run")"
}

without_optimizer "${SMALL_MODEL[@]}"
SMALL_MODEL=("${MODEL[@]}")
sgd="--optimizer bas_decentlam --momentum $momentum --lr $lr --bas-topology $topology"
for method in allreduce decentlam dmsgd; do
    names+=("$method")
    flags_of[$method]="$sgd --bas-decentralised $method"
done

made_with "--corpus $corpus --vocab $vocab" "$out/settings" "$bin/done"
prepare "$corpus" "$out" "$vocab"
run_grid "$seeds" 1
"$BAS_PYTHON" "$BAS_ROOT/scripts/bench/decentlam_table.py" --runs "$out/runs" --seeds "$seeds"
