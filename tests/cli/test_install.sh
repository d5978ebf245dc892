#!/usr/bin/env bash
# Installs onecycle to a folder of its own and builds the examples against it, by find_package and by
# pkg-config, as a program elsewhere would; then trains with one.
#     test_install.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail  # so no grep -q at a pipe's end: it leaves early, and the writer dies of SIGPIPE
build=$1
source=$2
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cmake --install "$build" --prefix "$place/usr" > "$place/log"
cmake -S "$source/examples" -B "$place/build" -G Ninja -DCMAKE_PREFIX_PATH="$place/usr" > "$place/log"
cmake --build "$place/build" > "$place/log" || { cat "$place/log"; exit 1; }

PKG_CONFIG_PATH=$(dirname "$(find "$place/usr" -name onecycle.pc)")
export PKG_CONFIG_PATH
read -ra flags <<< "$(pkg-config --cflags --libs onecycle)"
c++ -std=c++20 "$source/examples/01_train/train.cpp" -o "$place/train" "${flags[@]}"

"$place/usr/bin/onecycle" demo-data "$place/shapes" --classes 2 --images 40 --size 64
for train in "$place/build/01_train/train" "$place/train"; do
    "$train" "$place/shapes" "$place/model.safetensors" | tee "$place/said"
    grep -q 'epoch 3: ' "$place/said"
done
image=$(find "$place/shapes" -name '*.jpg' | sort | sed -n 1p)
"$place/build/04_predict/predict" "$place/model.safetensors" "$image" | grep ' %)'
"$place/build/02_schedule/schedule" | grep '  0.100000'
"$place/usr/bin/onecycle" info "$place/model.safetensors" | grep resnet18
