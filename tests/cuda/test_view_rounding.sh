#!/bin/sh
# The GPU's code draws views with the roundings of the CPU: nvcc has joined no product with a sum in
# double precision, except by a power of two, which is exact either way.
#     test_view_rounding.sh NVCC SOURCE_DIR
set -eu
ptx=$(mktemp)
trap 'rm -f "$ptx"' EXIT
"$1" -std=c++20 -arch=compute_80 -ptx -I"$2" -I"$2/src" -I"$2/include" "$2/kernels/augment.cu" -o "$ptx"
grep -q 'div\.rn\.f64' "$ptx" || { echo "no double precision at all: is this the right file?"; exit 1; }
if grep 'fma\.rn\.f64' "$ptx" | grep -Ev '0d[3B]F[BCDE]0000000000000'; then
    echo "these products are joined with a sum; the formula should say product()"
    exit 1
fi
