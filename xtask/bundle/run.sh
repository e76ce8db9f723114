#!/bin/sh
# Proves every kernel on this machine's GPUs, then measures how fast they are.
# Changes nothing outside the folder `results` beside this file. See README.txt.
set -eu

glibc_needed='@GLIBC@'
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# A line for each argument.
say() { printf '%s\n' "$@"; }
fail() {
    code=$1
    shift
    printf '%s\n' "$@" >&2
    exit "$code"
}

for argument; do
    case $argument in
    -h | --help)
        say "usage: ./run.sh [--quick] [other options of ./roofline]" \
            "" \
            "Runs ./doctor, then ./roofline, and keeps what they say in the folder results." \
            "./roofline --help lists the options; --json, --svg and --list are not for here." \
            "FEWBYTES_ADAPTER=NAME picks one GPU by part of its name, FEWBYTES_RESULTS=FOLDER" \
            "puts the results elsewhere." \
            "" \
            "exit code: 0 all is well, 1 a kernel is wrong or cannot be measured, 2 a wrong" \
            "option, 3 no GPU driver was found, 4 these programs do not run on this kind of machine"
        exit 0
        ;;
    --json | --json=* | --svg | --svg=*)
        fail 2 "error: run.sh itself puts figures and picture into its folder of results; leave" \
            "${argument%%=*} out. FEWBYTES_RESULTS=FOLDER puts that folder elsewhere."
        ;;
    --list) fail 2 "error: run.sh measures; ./roofline --list names the rows." ;;
    esac
done

# ---- Can these programs run here at all?
system=$(uname -s) machine=$(uname -m)
if [ "$system-$machine" != Linux-x86_64 ]; then
    fail 4 "These programs are for Linux on x86-64; this is $system on $machine."
fi

# True when version $1 is at least version $2; both are MAJOR.MINOR.
at_least() {
    [ "${1%%.*}" -gt "${2%%.*}" ] ||
        { [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${1#*.}" -ge "${2#*.}" ]; }
}
# The last word of the first line: `ldd (GNU libc) 2.36`. Other C libraries say something else.
glibc=$( (ldd --version 2>&1 || :) | sed -n '1s/.*[^0-9.]\([0-9][0-9]*\.[0-9][0-9]*\)[0-9.]*$/\1/p')
case $( (ldd --version 2>&1 || :) | sed -n 1p) in
*musl*) fail 4 "These programs need glibc $glibc_needed; this system's C library is musl." ;;
esac
if [ -z "$glibc" ]; then
    say "The version of glibc is not known here (no ldd); $glibc_needed or newer is needed."
elif ! at_least "$glibc" "$glibc_needed"; then
    fail 4 "These programs need glibc $glibc_needed or newer; this system has $glibc." \
        "Build them on this machine instead: README.txt says how."
fi

# ---- The Vulkan loader: this folder's own, if somebody put one there, else the system's.
if [ -e "$here/lib/libvulkan.so.1" ]; then
    LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
fi
has_loader() {
    # Word splitting at colons is what takes the path apart.
    (
        IFS=:
        for folder in ${LD_LIBRARY_PATH-}; do
            [ ! -e "$folder/libvulkan.so.1" ] || exit 0
        done
        exit 1
    ) && return 0
    for ldconfig in ldconfig /sbin/ldconfig /usr/sbin/ldconfig; do
        if "$ldconfig" -p 2>/dev/null | grep -q 'libvulkan\.so\.1.*x86-64'; then
            return 0
        fi
    done
    for folder in /usr/lib/x86_64-linux-gnu /usr/lib64 /lib64 /usr/lib /usr/local/lib; do
        [ ! -e "$folder/libvulkan.so.1" ] || return 0
    done
    return 1
}

distribution() {
    # In a subshell: the file sets variables.
    # shellcheck disable=SC1090,SC1091
    (
        [ ! -r /etc/os-release ] || . /etc/os-release
        say "${ID-} ${ID_LIKE-}"
    )
}

advise_loader() {
    say "The Vulkan loader (libvulkan.so.1) is not there. To install it:"
    case " $(distribution) " in
    *" debian "* | *" ubuntu "*) say "  sudo apt-get install libvulkan1" ;;
    *" fedora "* | *" rhel "* | *" centos "*) say "  sudo dnf install vulkan-loader" ;;
    *" arch "*) say "  sudo pacman -S vulkan-icd-loader" ;;
    *" suse "* | *" opensuse "*) say "  sudo zypper install libvulkan1" ;;
    *" nixos "*) say "  put vulkan-loader on LD_LIBRARY_PATH" ;;
    *) say "  with your system's packages (libvulkan1, vulkan-loader, vulkan-icd-loader)" ;;
    esac
    say "Or put a libvulkan.so.1 into $here/lib."
}

advise_driver() {
    say "The Vulkan loader is there, but no Vulkan driver for a GPU. For the GPU's maker:"
    say "  NVIDIA      the proprietary driver, with its Vulkan part (nvidia_icd.json;"
    say "              Debian: nvidia-vulkan-icd; containers: NVIDIA_DRIVER_CAPABILITIES=all)"
    say "  AMD, Intel  Mesa's Vulkan drivers (Debian, Ubuntu, Fedora: mesa-vulkan-drivers;"
    say "              Arch: vulkan-radeon, vulkan-intel; openSUSE: libvulkan_radeon,"
    say "              libvulkan_intel)"
    say "and make sure that you may use the GPU (groups video and render)."
}

loader=yes
has_loader || loader=no
code=0
words=$("$here/doctor" --list 2>&1 >/dev/null) || code=$?
# Not executable, a library that is not there, killed: not the program's own codes.
if [ "$code" -ge 126 ]; then
    fail 4 "$words" "./doctor does not start on this machine (exit code $code)."
fi
if [ "$code" -eq 3 ]; then
    if [ "$loader" = no ]; then advise_loader; else advise_driver; fi >&2
    exit 3
fi

# ---- A wrong option is better known now than after minutes.
code=0
"$here/roofline" "$@" --list >/dev/null || code=$?
[ "$code" -ne 2 ] || exit 2
[ "$code" -lt 126 ] || fail 4 "./roofline does not start on this machine (exit code $code)."

# ---- A new folder for every run, so that no result is ever lost.
all=${FEWBYTES_RESULTS:-$here/results}
run=1
while [ -e "$all/run-$run" ]; do run=$((run + 1)); done
results=$all/run-$run
mkdir -p "$results"

# Runs a program, shows what it says, keeps that in a file, and takes over its exit code.
kept() {
    file=$1
    shift
    {
        code=0
        "$@" 2>&1 || code=$?
        printf '%s\n' "$code" >"$results/.code"
    } | tee "$results/$file"
    code=$(cat "$results/.code")
    rm -f "$results/.code"
    return "$code"
}

send() {
    say "" "The results are in" "  $results" "They name the GPU, its driver and the day, not you or this machine. Please send that folder:"
    say "  tar -czf fewbytes-results.tar.gz -C '$all' 'run-$run'"
}

say "1 of 2: is every kernel right here?"
code=0
kept doctor.txt "$here/doctor" || code=$?
if [ "$code" -ne 0 ]; then
    say "" "The doctor found something wrong (exit code $code), so nothing is measured." >&2
    send
    exit "$code"
fi

say "" "2 of 2: how fast are they?"
kept roofline.txt "$here/roofline" --json "$results/roofline.json" --svg "$results/roofline.svg" "$@" ||
    code=$?
if [ "$code" -ne 0 ]; then
    say "" "The measurement failed (exit code $code)." >&2
fi
send
exit "$code"
