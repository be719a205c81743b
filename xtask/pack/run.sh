#!/bin/sh
# Judges one version of deeploss on the GPU of this machine. Needs no toolchain: a shell, coreutils, xargs and awk.
#
# usage: run.sh [OUT]     results go into the folder OUT (default: ./deeploss-results) and, as one archive, into OUT.tar.gz
#
# First everything that says whether results are right, side by side: golden cases of PyTorch, and the tests, a process for each
# module. Then everything that says how fast it is, alone; it ends with the goals and the peers, each beside what was predicted.
# Within five minutes, whatever is slow: each part has a limit.
#
#   DEEPLOSS_SLOWER=N     limits N times as long, for slow adapters (default 1)
#   DEEPLOSS_JOBS=N       processes side by side (default: half the cores, 2 to 6)
#   DEEPLOSS_TESTS="A B"  modules of tests (default: all but those that need no GPU)
#   DEEPLOSS_SPEED=no     leaves out the measurements
#   WGPU_BACKEND, WGPU_ADAPTER_NAME   choose the adapter, as everywhere
#
# exit status: 0 if everything passed, 1 if something failed or was cut off, 2 if there is no adapter
set -u

# Modules of tests whose outcome is the same on every machine.
NO_GPU=" cpu docs gradients shaders "
# Longest first, so that none of them is left to run alone at the end; then all others.
LONG="parity strategies storage large tuning broadcast identities edges"

# Seconds, together no more than five minutes: the adapter, everything about correctness, goals, the dispatches of cross-entropy
# in f32 and in bf16.
ADAPTER_LIMIT=15
CORRECT_LIMIT=115
GOALS_LIMIT=105
PROFILE_LIMIT=40
PROFILE_16_LIMIT=20

now() { date +%s; }

# The last line of a log that says something, for the table.
summary_of() {
    case $1 in
        adapter) sed -n 's/^deeploss takes: //p' "$2" ;;
        conformance) tail -n 1 "$2" ;;
        goals) grep ' met, .* not met' "$2" | tail -n 1 ;;
        profile | profile_16)
            # Of the fused call at each shape: time as a multiple of a copy's.
            awk -F, '$1 == "deeploss" && $3 == "both" { printf "%s%sx%s %s", sep, $4, $5, $9; sep = ", " }' "$OUT/$1.csv" ;;
        *)
            line=$(sed -n 's/^test result: [a-zA-Z]*\. //p' "$2" | cut -d ';' -f 1-2)
            [ -n "$line" ] && echo "$line" || echo "$(grep -c ' \.\.\. ok$' "$2") passed before the end" ;;
    esac
}

# part NAME SECONDS COMMAND..: runs it within a limit; its output to logs/NAME.log, a line of the table to status/NAME.
part() {
    name=$1 limit=$2 log=$OUT/logs/$1.log since=$(now)
    shift 2
    if [ "$limit" -lt 1 ]; then
        printf '%s|no time left|0|\n' "$name" >"$OUT/status/$name"
        return 1
    fi
    timeout -k 5 "$limit" "$@" >"$log" 2>&1
    code=$?
    case $code in
        0) status=passed ;;
        124 | 137) status="cut off after $limit s" ;;
        126 | 127) status="does not start" ;;
        *) status="failed ($code)" ;;
    esac
    summary=$(summary_of "$name" "$log" 2>/dev/null)
    case $status/$summary in "passed/0 passed"*) status="ran no test" ;; esac
    printf '%s|%s|%s|%s\n' "$name" "$status" "$(($(now) - since))" "$summary" >"$OUT/status/$name"
    return $code
}

# What runs beside others is this script again, started by xargs.
if [ "${1-}" = --part ]; then
    case $2 in
        conformance) part conformance "$((DEADLINE - $(now)))" "$HERE/bin/conformance" "$HERE/tests/goldens" --csv "$OUT/conformance.csv" ;;
        *) part "tests.$2" "$((DEADLINE - $(now)))" "$HERE/bin/tests" "$2::" ;;
    esac
    exit 0
fi
case ${1-} in
    -*)
        sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0"
        case $1 in -h | --help) exit 0 ;; *) exit 2 ;; esac ;;
esac

HERE=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-deeploss-results}" || exit 2
OUT=$(cd "${1:-deeploss-results}" && pwd)
rm -rf "$OUT/logs" "$OUT/status"
mkdir -p "$OUT/logs" "$OUT/status"
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
trap 'exit 1' HUP INT TERM

SLOWER=${DEEPLOSS_SLOWER:-1}
CORES=$(nproc 2>/dev/null || echo 2)
JOBS=${DEEPLOSS_JOBS:-$((CORES / 2))}
if [ -z "${DEEPLOSS_JOBS-}" ]; then
    [ "$JOBS" -lt 2 ] && JOBS=2
    [ "$JOBS" -gt 6 ] && JOBS=6
fi
export HERE OUT
# Where the tests find files of the checkout, and where they may write; drivers keep caches and complain without a place for them.
export DEEPLOSS_ROOT="$HERE" TMPDIR="$SCRATCH" HOME="${HOME:-$SCRATCH}" XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$SCRATCH}"
export RUST_BACKTRACE=0 RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((CORES / JOBS + 1))}"

# The Vulkan loader that came along, where the machine has none; drivers in unusual places, where there is none in the usual ones.
export PATH="$PATH:/sbin:/usr/sbin"
if ! ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1'; then
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$HERE/lib"
fi
# What NVIDIA's driver loads besides itself, likewise.
if ! ldconfig -p 2>/dev/null | grep -q 'libXext\.so\.6'; then
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$HERE/lib/driver"
fi
if [ -z "${VK_DRIVER_FILES-}${VK_ICD_FILENAMES-}" ]; then
    usual=$(ls /usr/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json 2>/dev/null)
    unusual=$(ls /usr/local/*/share/vulkan/icd.d/*.json /opt/*/share/vulkan/icd.d/*.json 2>/dev/null | tr '\n' ':')
    [ -z "$usual" ] && [ -n "$unusual" ] && export VK_DRIVER_FILES="${unusual%:}"
fi

began=$(now)
{
    cat "$HERE/VERSION"
    uname -srm
    echo "$CORES cores, $JOBS processes side by side"
    nvidia-smi 2>/dev/null
} >"$OUT/machine.txt"

part adapter "$((ADAPTER_LIMIT * SLOWER))" "$HERE/bin/adapters"
adapter=$?
cp "$OUT/logs/adapter.log" "$OUT/adapter.txt"
if [ $adapter -ne 0 ]; then
    cat "$OUT/adapter.txt"
    exit 2
fi

known=$("$HERE/bin/tests" --list 2>/dev/null | sed -n 's/^\([a-z_0-9]*\)::.*: test$/\1/p' | sort -u)
modules=
left_out=
for module in ${DEEPLOSS_TESTS:-$LONG $known}; do
    case " $modules $left_out " in *" $module "*) continue ;; esac
    if [ -z "${DEEPLOSS_TESTS-}" ]; then
        case $NO_GPU in *" $module "*)
            left_out="$left_out $module"
            continue ;;
        esac
        echo "$known" | grep -qx "$module" || continue
    fi
    modules="$modules $module"
done
DEADLINE=$(($(now) + CORRECT_LIMIT * SLOWER))
export DEADLINE
echo conformance $modules | tr ' ' '\n' | xargs -P "$JOBS" -I {} sh "$0" --part {}

if [ "${DEEPLOSS_SPEED:-yes}" != no ]; then
    speed() {
        speed=$1 limit=$(($2 * SLOWER))
        shift 2
        part "$speed" "$limit" "$HERE/bin/throughput" "$@" --csv "$OUT/$speed.csv"
    }
    speed goals $GOALS_LIMIT --goals
    speed profile $PROFILE_LIMIT --only cross_entropy --profile
    speed profile_16 $PROFILE_16_LIMIT --only cross_entropy --profile --dtype bf16
fi

{
    printf '%-18s %-20s %7s  %s\n' part status seconds summary
    for name in adapter conformance $(ls "$OUT/status" | grep '^tests\.') goals profile profile_16; do
        [ -f "$OUT/status/$name" ] || continue
        awk -F '|' '{ printf "%-18s %-20s %7s  %s\n", $1, $2, $3, $4 }' "$OUT/status/$name"
    done
    [ -n "$left_out" ] && echo "left out, as no GPU takes part:$left_out"
    echo "$(($(now) - began)) seconds in all"
    # The tables of goals and peers.
    echo
    [ -f "$OUT/logs/goals.log" ] && sed -n '/^goals on /,$p' "$OUT/logs/goals.log"
} | tee "$OUT/table.txt"
for status in $(grep -Lx '[^|]*|passed|.*' "$OUT"/status/*); do
    name=$(basename "$status")
    [ -s "$OUT/logs/$name.log" ] || continue
    printf '\n--- the end of %s\n' "logs/$name.log"
    tail -n 15 "$OUT/logs/$name.log" 2>/dev/null | cut -c 1-300
done

(cd "$(dirname "$OUT")" && tar -czf "$OUT.tar.gz" "$(basename "$OUT")") && echo "results: $OUT.tar.gz"
! cut -d '|' -f 2 "$OUT"/status/* | grep -qvx passed
