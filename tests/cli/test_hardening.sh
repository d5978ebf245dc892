#!/usr/bin/env bash
# The guards of cmake/options.cmake are in the program, in its modules, and in the library that is
# installed.
#     test_hardening.sh PROGRAM LIBRARY [MODULE]
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

for file in "$program" "${@:3}"; do
    has "position-independent code: $file" 'Type: +DYN' readelf -hW "$file"
    has "full RELRO: $file" GNU_RELRO readelf -lW "$file"
    has "BIND_NOW: $file" 'BIND_NOW|FLAGS_1.*NOW' readelf -dW "$file"
    has "stack protector: $file" '__stack_chk_fail' readelf --dyn-syms -W "$file"
    if readelf -lW "$file" | grep -E 'GNU_STACK.*RWE'; then echo "the stack can be executed"; failed=1; fi
    if readelf -dW "$file" | grep TEXTREL; then echo "text to write: $file"; failed=1; fi
    # An entry that is empty or relative is looked for in the folder one stands in.
    if readelf -dW "$file" | sed -n 's/.*\(RPATH\|RUNPATH\).*\[\(.*\)\]/:\2:/p' | grep -E '::|:[^/:]'; then
        echo "libraries are looked for where one stands: $file"
        failed=1
    fi
done
has "FORTIFY" '__(mem|str|snprintf|vsnprintf|read|pread)[a-z]*_chk' readelf --dyn-syms -W "$program"
if readelf -dW "$program" | grep -E 'RPATH|RUNPATH'; then echo "a path to libraries"; failed=1; fi

# Each object of the library tells whether indirect jumps and returns are guarded. NVIDIA's
# compiler, whose objects lack that, takes it from the program.
if [[ $(uname -m) == x86_64 ]]; then
    bare=$(readelf -nW "$library" 2> /dev/null |
        awk '/^File: /{name = $2} /IBT, SHSTK/{good[name] = 1} {seen[name] = 1}
             END {for (name in seen) if (name != "" && !(name in good)) print name}' | grep -v '\.cu\.o' || true)
    if [[ -n $bare ]]; then echo "without control-flow protection:"; echo "$bare"; failed=1; fi
fi
exit $failed
