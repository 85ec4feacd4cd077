# Shared by the grids: a list of systems, and every system of it x every seed.
# shellcheck shell=bash
declare -a names=()
declare -A flags_of=()
read_systems() { # the list into names and flags_of
    local line name flags
    while read -r line || [ -n "$line" ]; do
        read -r name flags <<<"${line%%#*}" || true
        [ -n "$name" ] || continue
        [[ "$name" =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
            die "$systems names a system $name; use letters, digits and . _ - only"
        [ -z "${flags_of[$name]+known}" ] || die "$systems names $name twice; give each its own name"
        names+=("$name")
        flags_of[$name]="$flags"
    done <"$systems"
    [ ${#names[@]} -gt 0 ] || die "$systems names no system; write a name and flags on each line"
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
