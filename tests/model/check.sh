#!/bin/sh
# Checks one model in full: tests/model/check.sh holds|safe|fails MODEL [-DOPTION...]
# "safe": only that nothing bad happens, not that everybody comes to an end: for what would otherwise take too long.
# "fails": the model is wrong on purpose, and the check must find that.
set -eu
expected=$1 model=$2
shift 2
options=$*
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
command -v spin >/dev/null || { echo "spin is not installed: packages.txt says what the tests need"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cp -- "$here"/*.pml "$work"
cd -- "$work"

# search NAME "COMPILER OPTIONS" "SEARCH OPTIONS": whether no error was found. Ends the check if the search was not exhaustive.
search() {
  # shellcheck disable=SC2086  # one word for each option
  cc -w -O2 -DCOLLAPSE $2 -o pan pan.c
  # shellcheck disable=SC2086
  ./pan -m1000000 $3 >"$1.log" 2>&1 || { cat "$1.log"; exit 1; }
  sed -n "s/^ *\([0-9.e+]*\) states, stored.*/$1: \1 states/p; s/^ *\([0-9.]*\)\ttotal actual memory.*/  \1 MB/p" "$1.log"
  if grep -q 'max search depth too small\|out of memory\|Search not completed' "$1.log" &&
    ! grep -q 'errors: [1-9]' "$1.log"; then
    cat "$1.log"
    exit 1
  fi
  if grep -q 'errors: 0' "$1.log"; then return 0; fi
  sed -n 's/^pan:[0-9]*: /found: /p' "$1.log"
  # shellcheck disable=SC2086
  [ "$expected" = fails ] || { spin $options -t -p -g "$model.pml" 2>&1 | tail -n 150; }
  return 1
}

# generate OPTION...: the search as a program, pan.c
generate() {
  # shellcheck disable=SC2086
  spin $options "$@" -a "$model.pml" >spin.log || { cat spin.log; exit 1; }
}

found=holds
[ "$expected" != safe ] || found=safe
generate
# No assertion fails, and nobody sleeps when nobody can wake it.
search safety '-DSAFETY -DNOCLAIM' '' || found=fails
# Everybody comes to an end, if each process that can always go on does so in the end.
if [ "$found" = holds ]; then
  generate -DLIVENESS
  search liveness '-DNFAIR=3' '-a -f' || found=fails
fi
echo "$model $options: $found"
[ "$found" = "$expected" ]
