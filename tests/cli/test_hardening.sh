#!/usr/bin/env bash
# The guards of cmake/options.cmake are in the program and in the library that is installed.
#     test_hardening.sh PROGRAM LIBRARY
set -euo pipefail
program=$1
library=$2
failed=0

# has WHAT PATTERN COMMAND...: what the command prints has the pattern.
has() {
    local what=$1 pattern=$2
    shift 2
    "$@" 2> /dev/null | grep -E "$pattern" > /dev/null || { echo "missing: $what"; failed=1; }
}

has "position-independent program" 'Type: +DYN' readelf -hW "$program"
has "full RELRO" GNU_RELRO readelf -lW "$program"
has "BIND_NOW" 'BIND_NOW|FLAGS_1.*NOW' readelf -dW "$program"
has "stack protector" '__stack_chk_fail' readelf --dyn-syms -W "$program"
has "FORTIFY" '__(mem|str|snprintf|vsnprintf|read|pread)[a-z]*_chk' readelf --dyn-syms -W "$program"
if readelf -lW "$program" | grep -E 'GNU_STACK.*RWE'; then echo "the stack can be executed"; failed=1; fi
if readelf -dW "$program" | grep -E 'RPATH|RUNPATH|TEXTREL'; then echo "a path or text to write"; failed=1; fi

# Each object of the library tells whether indirect jumps and returns are guarded. NVIDIA's
# compiler, whose objects lack that, takes it from the program.
if [[ $(uname -m) == x86_64 ]]; then
    bare=$(readelf -nW "$library" 2> /dev/null |
        awk '/^File: /{name = $2} /IBT, SHSTK/{good[name] = 1} {seen[name] = 1}
             END {for (name in seen) if (name != "" && !(name in good)) print name}' | grep -v '\.cu\.o' || true)
    if [[ -n $bare ]]; then echo "without control-flow protection:"; echo "$bare"; failed=1; fi
fi
exit $failed
