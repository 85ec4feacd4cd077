# Shared by the recipes: stages that are made once, on any number of devices and machines.
# shellcheck shell=bash
#
# A stage makes one product, a folder or a file, and leaves with it the options that made it and a
# checksum of those of the stages before. Made so, it is skipped; made otherwise, it is refused, so
# products of different options never mix. A folder is built as FOLDER.part and renamed; what goes
# on where it was interrupted (training) is built in place.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RECIPE_OPTIONS="out stage seed replicas budget devices machines rank-of-machine meet"
out="" stage="" seed=1 replicas="" budget=full devices="" machines=1 rank_of_machine=0 meet=""

choose_stages() { # choose_stages ALL...: which of them this call runs, by --stage A,B,...
    local name wanted="${stage//,/ }"
    made_before="" stages_left=" "
    for name in ${wanted:-"$@"}; do
        [[ " $* " == *" $name "* ]] || die "--stage $name is not one of: $*"
        # Other machines than the first help with training only.
        [ "$rank_of_machine" != 0 ] && [[ "$name" != train && "$name" != fine-tune ]] ||
            stages_left+="$name "
    done
}

stages_remain() { # is any stage left to run?
    [ "$stages_left" != " " ]
}

stage() { # stage KIND NAME PRODUCT OPTIONS COMMAND...: make PRODUCT, unless it is made
    local kind="$1" name="$2" product="$3" wanted="$4${made_before:+ | after $made_before}" made
    shift 4
    made="$product.made"
    [ "$kind" = file ] || made="$product/.made"
    stages_remain || return 0
    if [ -e "$made" ]; then
        same_options "$made" "$product"
        [[ "$stages_left" != *" $name "* ]] || told_done "$name" "$product"
    elif [[ "$stages_left" == *" $name "* ]]; then
        say "$name"
        "make_$kind" "$product" "$@"
        [ "$rank_of_machine" != 0 ] || note_options "$made"
    else
        die "the stage $name is not done, which --stage${stages_left% } needs; run it first"
    fi
    stages_left="${stages_left/ $name / }"
    made_before="$(cksum <<<"$wanted" | cut -d' ' -f1)"
}

stage_each() { # stage_each NAME ...: a stage that makes several files, after the same one
    local before="$made_before" left="$stages_left"
    stage file "$@"
    made_after="$made_before" made_before="$before" stages_left="$left"
}

end_stage() { # end_stage NAME
    made_before="$made_after" stages_left="${stages_left/ $1 / }"
}

told_done() { # told_done NAME PRODUCT
    printf '%s: done already\n' "$1"
    [ "$1" != score ] || cat "$2"
}

make_folder() { # make_folder PRODUCT COMMAND...: COMMAND gets the name of a new folder
    local product="$1"
    shift
    [ ! -e "$product" ] || die "$product was not made by this script; choose another --out"
    rm -rf "$product.part"
    "$@" "$product.part"
    note_options "$product.part/.made"
    mv "$product.part" "$product"
}

make_file() { # make_file PRODUCT COMMAND...: COMMAND gets its name, and writes it whole or not
    local product="$1"
    shift
    rm -f "$product"
    "$@" "$product"
}

make_place() { # make_place PRODUCT COMMAND...: COMMAND goes on with what it left in the folder
    local product="$1"
    shift
    mkdir -p "$product"
    if [ "$rank_of_machine" = 0 ]; then
        if [ -e "$product/.begun" ]; then
            same_options "$product/.begun" "$product"
        elif [ -n "$(ls -A "$product" | grep -v '^train[0-9]*\.log$')" ]; then # of other machines
            die "$product was not made by this script; choose another --out"
        fi
        note_options "$product/.begun"
    fi
    "$@" "$product"
}

same_options() { # same_options FILE PRODUCT: refuse what was made otherwise
    [ "$(<"$1")" = "$wanted" ] || die "$2 was made with other options, or from what has changed" \
        "since (see $1); choose another --out, or delete $2"
}

note_options() { # note_options FILE
    printf '%s\n' "$wanted" >"$1.part"
    mv "$1.part" "$1"
}

lock_out() { # lock_out FOLDER: one call at a time, with all that it starts, works in a folder
    mkdir -p "$1" || die "$1 cannot be made; choose another --out"
    exec 9>>"$1/.lock-$rank_of_machine"
    "$BAS_PYTHON" -c 'import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(1)
except OSError:  # a file system without locks
    pass' || die "another call is at work in $1; wait for its end, or stop it"
}

choose_devices() { # --devices, --machines: into launching, for launch.sh; on_device, for fairseq
    local found cores
    read -r found cores < <("$BAS_PYTHON" -c 'import os, torch
print(torch.cuda.device_count(), os.cpu_count())')
    [ "$budget" != small ] || found=0
    devices="${devices:-$((found > 0 ? found : 1))}"
    need_whole "$devices" "$machines"
    [[ "$rank_of_machine" =~ ^[0-9]+$ ]] && [ "$rank_of_machine" -lt "$machines" ] ||
        die "--rank-of-machine $rank_of_machine is not one of 0 to $((machines - 1))"
    [ "$machines" = 1 ] || [ -n "$meet" ] ||
        die "--machines $machines needs --meet HOST:PORT, an address of the first of them"
    [ "$found" -eq 0 ] || [ "$devices" -le "$found" ] ||
        die "--devices $devices is more than the $found GPUs that torch sees; give fewer"
    [ "$found" -gt 0 ] || [ "$devices" -le "$cores" ] ||
        die "--devices $devices is more than the $cores cores, and no GPU is used; give fewer"
    on_device=()
    [ "$found" -gt 0 ] || on_device=(--cpu)
    workers=$((devices * machines))
    launching=(--workers "$devices" --machines "$machines" --rank-of-machine "$rank_of_machine")
    launching+=("${on_device[@]}")
    [ -z "$meet" ] || launching+=(--meet "$meet")
    if [ -z "${OMP_NUM_THREADS:-}" ]; then
        use_threads
        OMP_NUM_THREADS=$((OMP_NUM_THREADS > devices ? OMP_NUM_THREADS / devices : 1))
    fi
}

train_into() { # train_into BIN FLAGS... RUN: by launch.sh, into RUN; goes on where it was
    local run="${!#}" log code=0
    log="$(train_log "$run")"
    bash "$BAS_ROOT/scripts/launch.sh" "${launching[@]}" -- "${@:1:$#-1}" --save-dir "$run" \
        --no-progress-bar --log-format json --no-epoch-checkpoints >>"$log" 2>&1 || code=$?
    if [ "$code" = 75 ]; then
        printf '%s: interrupted after a checkpoint was saved; the same command goes on\n' \
            "$(basename "$0")" >&2
        exit 75
    fi
    [ "$code" = 0 ] ||
        die "training stopped; its last words: $(tail -n 1 "$log") (all of them: $log)"
}

copy_text() { # copy_text NAME FILE ... OUT: each FILE as NAME into the folder OUT
    local out="${!#}"
    mkdir -p "$out"
    while [ $# -gt 1 ]; do
        cp "$2" "$out/$1"
        shift 2
    done
}

sums() { # sums NAME FILE ...: each NAME with a checksum of FILE
    while [ $# -gt 0 ]; do
        printf '%s %s ' "$1" "$(cksum <"$2")"
        shift 2
    done
}

train_log() { # train_log RUN: the log of this machine
    printf '%s/train%s.log' "$1" "${rank_of_machine/#0/}"
}
