#!/usr/bin/env bash
# Installs onecycle to a folder of its own and builds the examples against it, by find_package and
# by pkg-config, as a program elsewhere would; then trains with two of them. And includes it by
# add_subdirectory().
#     test_install.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail  # so no grep -q at a pipe's end: it leaves early, and the writer dies of SIGPIPE
build=$1
source=$2
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

cmake --install "$build" --prefix "$place/usr" > "$place/log"

# Every header is one that a program may include first and alone, and names nothing that stays here.
cd "$place/usr/include"
[ "$(find onecycle -type f | wc -l)" -eq 20 ]
if grep -nE 'FileSystem|#include "(core|rules|data|formats|store)/' onecycle/*.h; then exit 1; fi
alone=(c++ -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I. -x c++ -include)
printf '%s\n' onecycle/*.h | xargs -I{} -P 2 "${alone[@]}" {} /dev/null 2> "$place/said" ||
    { cat "$place/said"; exit 1; }
cd - > /dev/null

cmake -S "$source/examples" -B "$place/build" -G Ninja -DCMAKE_PREFIX_PATH="$place/usr" > "$place/log"
cmake --build "$place/build" > "$place/log" || { cat "$place/log"; exit 1; }

PKG_CONFIG_PATH=$(dirname "$(find "$place/usr" -name onecycle.pc)")
export PKG_CONFIG_PATH
read -ra flags <<< "$(pkg-config --cflags --libs onecycle)"
c++ -std=c++20 "$source/examples/01_train/train.cpp" -o "$place/train" "${flags[@]}"

"$place/usr/bin/onecycle" demo-data "$place/shapes" --classes 2 --images 40 --size 64
"$place/train" "$place/shapes" "$place/model.safetensors" | tee "$place/said"
grep -q 'epoch 2: ' "$place/said"  # the last of three
image=$(find "$place/shapes" -name '*.jpg' | sort | sed -n 1p)
"$place/build/04_predict/predict" "$place/model.safetensors" "$image" | grep ' %)'
"$place/build/06_own_network/own_network" "$place/shapes" "$place/own.safetensors" "$place/own.onnx" "$image" |
    tee "$place/said"
grep ' %)' "$place/said"
grep 'own.onnx: ' "$place/said"
if "$place/usr/bin/onecycle" predict "$image" --model "$place/own.safetensors" 2> "$place/said"; then exit 1; fi
grep "nine-layers' is not built in" "$place/said"
"$place/build/02_schedule/schedule" | grep '  0.100000'
"$place/usr/bin/onecycle" info "$place/model.safetensors" | grep resnet18

# As part of another project, where the library has been built already: its archive stands in, for
# time's sake.
mkdir "$place/around"
cp "$source/examples/02_schedule/schedule.cpp" "$place/around"
cat > "$place/around/CMakeLists.txt" << END
cmake_minimum_required(VERSION 3.25)
project(around LANGUAGES CXX)
add_subdirectory("$source" onecycle)
add_executable(schedule schedule.cpp)
target_link_libraries(schedule PRIVATE onecycle::onecycle)
END
cuda=$(sed -n 's/^ONECYCLE_CUDA:[A-Z]*=//p' "$build/CMakeCache.txt")
cmake -S "$place/around" -B "$place/around/build" -G Ninja -DONECYCLE_CUDA="$cuda" > "$place/log"
cd "$place/around/build"
ninja CMakeFiles/schedule.dir/schedule.cpp.o > "$place/log" || { cat "$place/log"; exit 1; }
cp "$build/src/libonecycle.a" onecycle/src
ninja -t commands schedule > "$place/commands"
bash -euc "$(tail -n 1 "$place/commands")"
./schedule | grep '  0.100000'
if ninja -t targets all | grep onecycle/tests; then exit 1; fi  # its tests are not built there
