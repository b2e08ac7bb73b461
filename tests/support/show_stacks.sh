#!/bin/sh
# show_stacks.sh PID: prints every thread's stack of a process and of all its descendants, which it then kills. Without gdb
# the kernel's view is better than nothing: what each thread is called, and where in the kernel it sleeps.
show() {
  echo "=== process $1: $(tr '\0' ' ' <"/proc/$1/cmdline")"
  if command -v gdb >/dev/null; then
    timeout 60 gdb -nx -batch -iex 'set debuginfod enabled off' -p "$1" -ex 'thread apply all bt 40' 2>/dev/null |
      grep -v '^\[New LWP'
  else
    for task in /proc/"$1"/task/*; do
      echo "thread ${task##*/} $(cat "$task/comm"): $(cat "$task/wchan"), system call $(cat "$task/syscall")"
    done
  fi
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
    [ "$child" = $$ ] || show "$child"
  done
}
end() {
  for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
    [ "$child" = $$ ] || { end "$child" && kill -KILL "$child"; }
  done
}
show "$1"
end "$1"
