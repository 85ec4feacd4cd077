#!/usr/bin/env bash
# One fairseq-train command on one process, several processes or several machines:
#
#   scripts/launch.sh [OPTIONS] -- DATA --task bas_translation ...      flags of fairseq-train
#
#   --workers N           processes of this machine (default: one for each GPU; 1 with --cpu)
#   --cpu                 train on the CPU; workers talk by gloo, else by nccl
#   --restarts R          how often to restart all workers from the newest checkpoint when one
#                         dies (default 0); refused input and interruptions are not restarted
#   --machines K          run this on each of K machines, with:
#   --rank-of-machine R     0, the machine at --meet, to K-1
#   --meet HOST:PORT        address of the first machine and a port that is free there
#   --wait SECONDS          how long machines wait for each other to meet (default 600)
#   --timeout SECONDS       how long a worker waits for another in an update before it takes it
#                           for lost (default 20 with several machines, else torch's own limit)
#   --address ADDRESS     of this machine for the others (default: that which it has towards HOST)
#   --interface IF          network interface of the workers (default: that of the address)
#
# fairseq_bas is the user directory unless the flags name one. BAS_PYTHON says which Python runs.
#
# Ports. One process opens none. Several processes of one machine listen on 127.0.0.1 only: the two
# stores of torch.distributed and a port for each worker, all chosen by the system. With --machines
# the machine at --meet listens on PORT at the address it has towards HOST; the first machine by
# address opens one more store there, and each worker one port on the interface. Nobody who reaches
# them is asked who he is: use a private network (docs/security.md).
#
# Exit codes: 0 done, 1 failed with a message, 75 interrupted by SIGTERM or SIGUSR1 after a
# checkpoint was saved: the same command again goes on.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

read_launch_options() { # fills the variables below and FLAGS, what follows --
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        if [ "$1" = --cpu ]; then
            cpu=1
            shift
        else
            read_options "workers restarts machines rank-of-machine meet wait timeout address interface" \
                "${@:1:2}"
            shift 2
        fi
    done
    [ "${1:-}" = -- ] && [ $# -ge 2 ] ||
        die "the flags of fairseq-train are missing; give them after --; see --help"
    FLAGS=("${@:2}")
}

has_flag() { # has_flag --NAME: is it among the flags of fairseq-train?
    local flag
    for flag in "${FLAGS[@]}"; do
        [[ "$flag" != "$1" && "$flag" != "$1="* ]] || return 0
    done
    return 1
}

check_machines() {
    need_whole "$machines"
    [[ "$rank_of_machine" =~ ^[0-9]+$ && "$restarts" =~ ^[0-9]+$ ]] ||
        die "--rank-of-machine and --restarts are whole numbers; see --help"
    [ "$rank_of_machine" -lt "$machines" ] ||
        die "--rank-of-machine $rank_of_machine is not one of 0 to $((machines - 1))"
    [ "$machines" -eq 1 ] || [ -n "$meet" ] ||
        die "--machines $machines needs --meet HOST:PORT, an address of the first of them"
}

cpu="" workers="" restarts=0 machines=1 rank_of_machine=0 meet="" wait=600 timeout="" address="" interface=""
read_launch_options "$@"
check_machines
has_flag --cpu && cpu=1
if [ -n "$cpu" ]; then
    workers="${workers:-1}"
    has_flag --cpu || FLAGS+=(--cpu)
fi
[ -z "$workers" ] || need_whole "$workers"
has_flag --user-dir || FLAGS+=(--user-dir "$BAS_ROOT/fairseq_bas")
[ "$machines" -eq 1 ] || timeout="${timeout:-20}"
if [ -n "$timeout" ]; then
    need_whole "$timeout"
    FLAGS+=(--bas-worker-timeout "$timeout")
fi
if [ -z "${OMP_NUM_THREADS:-}" ] && [ -n "$cpu" ]; then
    use_threads
    OMP_NUM_THREADS=$((OMP_NUM_THREADS > workers ? OMP_NUM_THREADS / workers : 1))
fi

if [ "$machines" -eq 1 ] && [ "${workers:-0}" -eq 1 ] && [ "$restarts" -eq 0 ]; then
    exec "$BAS_PYTHON" -m fairseq_cli.train "${FLAGS[@]}"
fi
options=(--workers "${workers:-gpu}" --machines "$machines" --rank-of-machine "$rank_of_machine"
    --restarts "$restarts" --wait "$wait" --timeout "${timeout:-600}")
[ -z "$meet" ] || options+=(--meet "$meet")
[ -z "$address" ] || options+=(--address "$address")
[ -z "$interface" ] || options+=(--interface "$interface")
PYTHONPATH="$BAS_ROOT${PYTHONPATH:+:$PYTHONPATH}" exec "$BAS_PYTHON" \
    -m fairseq_bas.resilience.launcher "${options[@]}" -- \
    "$BAS_PYTHON" -m fairseq_cli.train "${FLAGS[@]}"
