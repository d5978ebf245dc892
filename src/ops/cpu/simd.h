// Vector code without a word of assembly: GCC's vector types, compiled three times by target_clones
// (baseline, AVX2, AVX-512) and picked by the loader, so that one binary runs at full speed on
// each.
#pragma once

#include <cstdint>
#include <cstring>

// On functions that hold hot loops. They must not hold OpenMP directives: those would be outlined
// into functions without clones. Sanitizers cannot stand the loader's early calls.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define ONECYCLE_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define ONECYCLE_CLONES
#endif

// On everything that hot loops call: it is compiled for the instruction set of its caller.
#define ONECYCLE_INLINE inline __attribute__((always_inline))

namespace onecycle::simd {

// Eight floats: one register of AVX2. Wider types split badly where registers are narrower.
typedef float Float8 __attribute__((vector_size(32)));
typedef float UnalignedFloat8 __attribute__((vector_size(32), aligned(4)));

// Sixteen floats: a cache line, and one pixel of nChw16c.
struct Float16 {
    Float8 low, high;
};

ONECYCLE_INLINE Float16 operator+(const Float16& a, const Float16& b) {
    return {a.low + b.low, a.high + b.high};
}
ONECYCLE_INLINE Float16 operator-(const Float16& a, const Float16& b) {
    return {a.low - b.low, a.high - b.high};
}
ONECYCLE_INLINE Float16 operator*(const Float16& a, const Float16& b) {
    return {a.low * b.low, a.high * b.high};
}

// condition > 0 ? value : 0, lane by lane. NaN counts as not above 0.
ONECYCLE_INLINE Float16 where_positive(const Float16& condition, const Float16& value) {
    const Float8 zero{};
    return {condition.low > zero ? value.low : zero, condition.high > zero ? value.high : zero};
}

// max(0, x); NaN stays NaN, as in PyTorch.
ONECYCLE_INLINE Float16 relu(const Float16& x) {
    const Float8 zero{};
    return {x.low <= zero ? zero : x.low, x.high <= zero ? zero : x.high};
}

ONECYCLE_INLINE Float16 broadcast(float x) {
    return {Float8{} + x, Float8{} + x};
}

// How many of the sixteen lanes a row has: all, or the first n.
struct All {};
struct First {
    int n;
};

ONECYCLE_INLINE Float16 load(const float* p, All = {}) {
    return {*reinterpret_cast<const UnalignedFloat8*>(p), *reinterpret_cast<const UnalignedFloat8*>(p + 8)};
}
ONECYCLE_INLINE Float16 load(const float* p, First lanes) {
    float all[16] = {};
    std::memcpy(all, p, static_cast<std::size_t>(lanes.n) * sizeof(float));
    return load(all);
}

ONECYCLE_INLINE void store(float* p, const Float16& v, All = {}) {
    *reinterpret_cast<UnalignedFloat8*>(p) = v.low;
    *reinterpret_cast<UnalignedFloat8*>(p + 8) = v.high;
}
ONECYCLE_INLINE void store(float* p, const Float16& v, First lanes) {
    float all[16];
    store(all, v);
    std::memcpy(p, all, static_cast<std::size_t>(lanes.n) * sizeof(float));
}

// Zeroes the lanes a row does not have.
ONECYCLE_INLINE Float16 live(const Float16& v, All) {
    return v;
}
ONECYCLE_INLINE Float16 live(const Float16& v, First lanes) {
    float all[16];
    store(all, v);
    return load(all, lanes);
}

// sum[0..16) += v
ONECYCLE_INLINE void add_to(double* sum, const Float16& v) {
    float all[16];
    store(all, v);
    for (int l = 0; l < 16; ++l) sum[l] += static_cast<double>(all[l]);
}

// The sum of eight lanes in a fixed order.
ONECYCLE_INLINE float sum_of(const Float8& v) {
    return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]));
}

}  // namespace onecycle::simd
