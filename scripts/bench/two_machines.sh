#!/usr/bin/env bash
# Whether two machines of two processes each train as one process does, and what is lost when one of
# them is cut off. The machines are network namespaces joined by a virtual cable where the system
# allows (root on Linux), else two addresses of the loopback interface.
#
#   scripts/bench/two_machines.sh [--out DIR] [options]
#     --out DIR        (default runs/two_machines)
#     --updates U      updates of every run (default 60)
#     --cut C          update after which the second machine is cut off (default 25)
#     --workers N      processes of a machine (default 2)
#     --timeout S      as of scripts/launch.sh (default 20)
#     --precision P    float64 (default) or float32
#     --loopback yes   two addresses, although namespaces could be had
#
# A small Transformer of the kind of the quickstart, 4 copies of a sentence. Runs: one process
# (--bas-placement passes); two machines (workers); the same, cut off and started again. Passes if
# losses agree to 1e-5, the cut ends the job in under 60 seconds, and the run that was cut and
# started again ends bit-equal to the one left alone. Prints a report; exit code 0 or 1.
#
# Workers add up gradients in another order than one process does. In float32 training magnifies that
# rounding beyond 1e-5 in some 30 updates, whence float64 (double_precision/): there it stays rounding.
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

out="$BAS_ROOT/runs/two_machines" updates=60 cut=25 workers=2 timeout=20 precision=float64 loopback=""
read_options "out updates cut workers timeout precision loopback" "$@"
case "$precision" in
    float64) plugin="$BAS_ROOT/scripts/bench/double_precision" ;;
    float32) plugin="$BAS_ROOT/fairseq_bas" ;;
    *) die "--precision $precision is neither float64 nor float32; see --help" ;;
esac
need_whole "$updates" "$cut" "$workers" "$timeout"
[ "$cut" -lt "$updates" ] || die "--cut $cut is not before --updates $updates"
export OMP_NUM_THREADS=1
mkdir -p "$out"
out="$(cd "$out" && pwd)"
spaces=("bas-$$-0" "bas-$$-1") pids=() frozen=()

make_machines() { # two namespaces and a cable; fails where the system does not allow it
    [ -z "$loopback" ] || return 1
    local machine
    for machine in 0 1; do ip netns add "${spaces[machine]}" || return 1; done
    ip link add name eth0 netns "${spaces[0]}" type veth peer name eth0 netns "${spaces[1]}" || return 1
    for machine in 0 1; do
        ip -n "${spaces[machine]}" addr add "10.77.0.$((machine + 1))/24" dev eth0 || return 1
        ip -n "${spaces[machine]}" link set eth0 up || return 1
        ip -n "${spaces[machine]}" link set lo up || return 1
    done
}

clear_up() {
    local pid machine
    for pid in "${pids[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
    for machine in 0 1; do ip netns del "${spaces[machine]}" 2>/dev/null || true; done
}
trap clear_up EXIT

flags() { # flags RUN PLACEMENT: of fairseq-train, into FLAGS
    FLAGS=("$out/data/bin" --save-dir "$out/$1" "${SMALL_MODEL[@]}" --seed 1 --max-tokens 1500
        --user-dir "$plugin" --cpu --num-workers 0 --log-format json --log-interval 1
        --bas-replicas 4 --bas-placement "$2" --warmup-updates 20 --max-update "$updates"
        --save-interval-updates 5 --keep-interval-updates -1 --no-epoch-checkpoints
        --no-progress-bar --disable-validation)
}

start() { # start RUN: it on both machines, pids into PIDS, logs into RUN.0.log and RUN.1.log
    local machine own=(127.0.0.1 127.0.0.2) inside
    [ -n "$loopback" ] || own=(10.77.0.1 10.77.0.2)
    flags "$1" workers
    pids=()
    for machine in 0 1; do
        inside=(ip netns exec "${spaces[machine]}")
        [ -z "$loopback" ] || inside=(env)
        setsid "${inside[@]}" bash "$BAS_ROOT/scripts/launch.sh" --workers "$workers" --cpu \
            --machines 2 --rank-of-machine "$machine" --meet "${own[0]}:$port" --wait 200 \
            --address "${own[machine]}" --timeout "$timeout" -- "${FLAGS[@]}" \
            >>"$out/$1.$machine.log" 2>&1 &
        pids+=("$!")
    done
}

finish() { # finish RUN: wait for both machines; fails if one does
    local pid
    for pid in "${pids[@]}"; do
        wait "$pid" || die "a machine failed; its last words: $(tail -qn 1 "$out/$1".[01].log)"
    done
}

cut_off() { # the second machine: its cable, or its processes frozen with their sockets open
    if [ -n "$loopback" ]; then
        frozen=("${pids[1]}" $(pgrep -P "${pids[1]}"))
        kill -STOP "${frozen[@]}"
    else
        ip -n "${spaces[1]}" link set eth0 down
    fi
}

mend() { # the second machine is there again, its run gone
    if [ -n "$loopback" ]; then
        kill -KILL "${frozen[@]}"
        wait "${pids[1]}" 2>/dev/null || true
    else
        ip -n "${spaces[1]}" link set eth0 up
    fi
}

ended() { # ended MACHINE: has its launcher ended?
    ! kill -0 "${pids[$1]}" 2>/dev/null
}

if ! make_machines 2>"$out/namespaces.log"; then
    loopback=yes
fi
port="$("$BAS_PYTHON" -c 'import random; print(random.randint(20000, 30000))')"
say "machines: $([ -n "$loopback" ] && echo "two addresses of the loopback interface" ||
    echo "two network namespaces joined by a virtual cable")"
if [ ! -e "$out/data/bin/done" ]; then
    "$BAS_PYTHON" "$BAS_ROOT/data/make_toy.py" --out "$out/corpus" --train 1000 --valid 100 --test 100
    prepare "$out/corpus" "$out/data" 200
fi
rm -rf "$out"/one* "$out"/two* "$out"/cut*

say "one process"
flags one passes
fairseq train "${FLAGS[@]}" >"$out/one.log" 2>&1 || die "it failed: $(tail -n 1 "$out/one.log")"
say "two machines of $workers processes"
start two
finish two
say "two machines, the second cut off after update $cut"
start cut
until [ -e "$(compgen -G "$out/cut/checkpoint_*_$((cut - cut % 5)).pt" | head -n 1)" ]; do
    ended 0 && die "the run ended too early: $(tail -n 1 "$out/cut.0.log")"
    sleep 0.2
done
cut_off
before="$(date +%s.%N)"
until ended 0 && { [ -n "$loopback" ] || ended 1; }; do
    sleep 0.1
done
seconds="$("$BAS_PYTHON" -c "import time; print(f'{time.time() - $before:.1f}')")"
mend
printf 'ended after %s s; last words of the machines:\n' "$seconds"
tail -qn 1 "$out"/cut.[01].log | cut -c1-200
say "both machines again"
start cut
finish cut
"$BAS_PYTHON" "$BAS_ROOT/scripts/bench/two_machines_report.py" "$out" --seconds "$seconds"
