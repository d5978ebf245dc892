// 16-bit floating point numbers as storage: arithmetic is done in float. Both round to the nearest,
// ties to even, as the hardware does. This header compiles for host and device.
#pragma once

#include <cstdint>
#include <cstring>

#include "rules/host_device.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace onecycle {

// Sign, 8 bits of exponent, 7 of fraction: a float's upper half. The range of a float, 2 to 3
// digits.
struct bf16 {
    std::uint16_t bits;
};

// IEEE binary16: sign, 5 bits of exponent, 10 of fraction. Largest 65504, smallest normal 6.1e-5.
struct f16 {
    std::uint16_t bits;
};

ONECYCLE_HD inline std::uint32_t bits_of(float value) {
    std::uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
ONECYCLE_HD inline float float_of(std::uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

ONECYCLE_HD inline float to_float(float value) {
    return value;
}
ONECYCLE_HD inline float to_float(bf16 value) {
    return float_of(std::uint32_t{value.bits} << 16);
}
ONECYCLE_HD inline float to_float(f16 value) {
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(value.bits));
#else
    const std::uint32_t sign = std::uint32_t{value.bits & 0x8000u} << 16, exponent = (value.bits >> 10) & 31u,
                        fraction = value.bits & 0x3FFu;
    if (exponent == 31) return float_of(sign | 0x7F800000u | (fraction << 13));
    if (exponent > 0) return float_of(sign | ((exponent + 112) << 23) | (fraction << 13));
    const float magnitude = static_cast<float>(fraction) * 5.9604644775390625e-8f;  // subnormal: 2^-24
    return sign ? -magnitude : magnitude;
#endif
}

// Rounds a float to T.
template <typename T>
ONECYCLE_HD inline T from_float(float value);

template <>
ONECYCLE_HD inline float from_float<float>(float value) {
    return value;
}
template <>
ONECYCLE_HD inline bf16 from_float<bf16>(float value) {
#if defined(__CUDA_ARCH__)
    return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
    const std::uint32_t bits = bits_of(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return {0x7FFF};  // NaN, as the hardware's
    return {static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16)};
#endif
}
template <>
ONECYCLE_HD inline f16 from_float<f16>(float value) {
#if defined(__CUDA_ARCH__)
    return {__half_as_ushort(__float2half_rn(value))};
#else
    const std::uint32_t bits = bits_of(value), magnitude = bits & 0x7FFFFFFFu;
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
    if (magnitude > 0x7F800000u) return {0x7FFF};                                       // NaN
    if (magnitude >= 0x477FF000u) return {static_cast<std::uint16_t>(sign | 0x7C00u)};  // rounds above 65504
    if (magnitude >= 0x38800000u) {  // normal: 2^-14 and up
        const std::uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
        return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
    }
    // Subnormal: adding 0.5 lets the float's own rounding cut at 2^-24.
    const float shifted = float_of(magnitude) + 0.5f;
    return {static_cast<std::uint16_t>(sign | (bits_of(shifted) - 0x3F000000u))};
#endif
}

}  // namespace onecycle
