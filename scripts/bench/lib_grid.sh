# Shared by the grids: a list of systems, and every system of it x every seed.
# shellcheck shell=bash
declare -a names=()
declare -A flags_of=()
read_systems() { # the list into names and flags_of; "NAME = FLAGS" gives @NAME a meaning below it
    local line name flags word
    local -A meaning=()
    while read -r line || [ -n "$line" ]; do
        read -r name flags <<<"${line%%#*}" || true
        [ -n "$name" ] || continue
        [[ "$name" =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
            die "$systems names a system $name; use letters, digits and . _ - only"
        for word in "${!meaning[@]}"; do
            flags=" $flags "
            flags="${flags// @$word / ${meaning[$word]} }"
        done
        read -r flags <<<"$flags" || true
        if [[ "$flags" == "= "* ]]; then
            meaning[$name]="${flags#= }"
            continue
        fi
        [ -z "${flags_of[$name]+known}" ] || die "$systems names $name twice; give each its own name"
        names+=("$name")
        flags_of[$name]="$flags"
    done <"$systems"
    [ ${#names[@]} -gt 0 ] || die "$systems names no system; write a name and flags on each line"
}

shorten() { # shorten CORPUS OUT PAIRS: into OUT, with the first pairs of the training text
    local corpus="$1" out="$2" pairs="$3" split side lines
    mkdir -p "$out"
    for side in src tgt; do
        for split in train valid test; do
            [ -s "$corpus/$split.$side" ] || die "$corpus/$split.$side is missing or empty"
        done
        lines="$(wc -l <"$corpus/train.$side")"
        [ "$lines" -ge "$pairs" ] || die "--train-pairs $pairs is more than the $lines lines of" \
            "$corpus/train.$side; give fewer, or leave it out"
        head -n "$pairs" "$corpus/train.$side" >"$out/train.$side"
        cp "$corpus/valid.$side" "$corpus/test.$side" "$out/"
    done
}

prepare_pairs() { # prepare_pairs CORPUS OUT VOCAB PAIRS: into OUT/bin; all pairs if PAIRS is empty
    local corpus="$1" out="$2" vocab="$3" pairs="$4"
    mkdir -p "$out"
    made_with "--corpus $corpus --vocab $vocab --train-pairs ${pairs:-all}" \
        "$out/settings" "$out/bin/done"
    if [ -n "$pairs" ]; then
        [ -e "$out/bin/done" ] || shorten "$corpus" "$out/corpus" "$pairs"
        corpus="$out/corpus"
    fi
    prepare "$corpus" "$out" "$vocab"
}

prepare_words() { # prepare_words CORPUS OUT MIN_COUNT: a text without sides, into OUT/bin
    mkdir -p "$2"
    made_with "--corpus $1 --min-count $3" "$2/settings" "$2/bin/done"
    prepare_text "$1" "$2/bin" "$3"
}

made_with() { # made_with SETTINGS FILE PRODUCT: keep SETTINGS in FILE; refuse if others made PRODUCT
    local settings before=""
    read -r settings <<<"$1"
    [ ! -e "$2" ] || before="$(<"$2")"
    [ ! -e "$3" ] || [ "$before" = "$settings" ] ||
        die "$(dirname "$2") was made with '$before', not with '$settings'; delete it, or choose" \
            "another --out"
    printf '%s\n' "$settings" >"$2"
}

run_grid() { # run_grid SEEDS JOBS: one_run NAME SEED for all systems, JOBS of them at a time
    local seeds="$1" jobs="$2" failed=0 seed name
    for seed in $seeds; do
        for name in "${names[@]}"; do
            while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n || failed=1; done
            one_run "$name" "$seed" &
        done
    done
    while [ -n "$(jobs -rp)" ]; do wait -n || failed=1; done
    [ "$failed" = 0 ] || die "a run failed; see above"
}
