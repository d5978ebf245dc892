// The element types of files.
#include <bit>
#include <cmath>
#include <cstring>

#include "onecycle/tensor_file.h"

namespace onecycle {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

float from_bf16(std::uint16_t bits) {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

float from_f16(std::uint16_t bits) {
    const std::uint32_t sign = (bits & 0x8000u) << 16;
    const std::uint32_t exponent = (bits >> 10) & 31u;
    const std::uint32_t mantissa = bits & 0x3FFu;
    if (exponent == 0) {  // zero and the subnormals: mantissa * 2^-24
        const float value = std::ldexp(static_cast<float>(mantissa), -24);
        return sign ? -value : value;
    }
    const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112;  // bias 15 -> 127
    return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

template <class Stored, class Convert>
void convert(std::span<const std::byte> stored, std::span<float> out, Convert to) {
    for (std::size_t i = 0; i < out.size(); ++i) {
        Stored value;
        std::memcpy(&value, stored.data() + i * sizeof value, sizeof value);
        out[i] = to(value);
    }
}

template <class Number>
float rounded(Number value) {
    return static_cast<float>(value);
}

}  // namespace

std::size_t size_of(StoredType type) {
    switch (type) {
        case StoredType::f64:
        case StoredType::i64:
            return 8;
        case StoredType::f32:
        case StoredType::i32:
            return 4;
        case StoredType::f16:
        case StoredType::bf16:
            return 2;
        case StoredType::u8:
        case StoredType::boolean:
            return 1;
    }
    return 0;
}

const char* name_of(StoredType type) {
    switch (type) {
        case StoredType::f64:
            return "F64";
        case StoredType::f32:
            return "F32";
        case StoredType::f16:
            return "F16";
        case StoredType::bf16:
            return "BF16";
        case StoredType::i64:
            return "I64";
        case StoredType::i32:
            return "I32";
        case StoredType::u8:
            return "U8";
        case StoredType::boolean:
            return "BOOL";
    }
    return "";
}

void to_float(StoredType type, std::span<const std::byte> stored, std::span<float> out) {
    switch (type) {
        case StoredType::f64:
            return convert<double>(stored, out, rounded<double>);
        case StoredType::f32:
            return convert<float>(stored, out, rounded<float>);
        case StoredType::f16:
            return convert<std::uint16_t>(stored, out, from_f16);
        case StoredType::bf16:
            return convert<std::uint16_t>(stored, out, from_bf16);
        case StoredType::i64:
            return convert<std::int64_t>(stored, out, rounded<std::int64_t>);
        case StoredType::i32:
            return convert<std::int32_t>(stored, out, rounded<std::int32_t>);
        case StoredType::u8:
        case StoredType::boolean:
            return convert<std::uint8_t>(stored, out, rounded<std::uint8_t>);
    }
}

}  // namespace onecycle
