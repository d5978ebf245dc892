// Numbers that Python and C++ compute exactly alike: the weights, images and labels of the
// references. The twin of formula.py, whose docstring tells how they are made; tests compare a
// network that starts from them with what PyTorch made of the same ones. Header only, for tests.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace onecycle::reference {

inline constexpr std::array<float, 3> mean{0.485f, 0.456f, 0.406f};
inline constexpr std::array<float, 3> stddev{0.229f, 0.224f, 0.225f};

constexpr std::uint32_t fnv1a(std::string_view name) {
    std::uint32_t value = 0x811C9DC5u;
    for (char c : name) value = (value ^ static_cast<std::uint8_t>(c)) * 0x01000193u;
    return value;
}

// MurmurHash3's 32-bit finaliser.
constexpr std::uint32_t mix(std::uint32_t h) {
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    h = (h ^ h >> 13) * 0xC2B2AE35u;
    return h ^ h >> 16;
}

// A tensor of numbers, known by its name.
class Stream {
  public:
    explicit constexpr Stream(std::string_view name) : key_(fnv1a(name)) {}

    constexpr std::uint32_t hash(std::size_t i) const {
        return mix(mix(static_cast<std::uint32_t>(i)) ^ key_);
    }
    // In [-1, 1), exact in float.
    constexpr double uniform(std::size_t i) const { return (hash(i) >> 8) / 8388608.0 - 1.0; }

  private:
    std::uint32_t key_;
};

// The value of a tensor of a ResNet's state dict under torchvision's name, row-major in PyTorch's
// shape: convolution u*sqrt(6/fan_in); fc.weight u*sqrt(1/fan_in); fc.bias u/8; batch norm weight
// 1+u/8 and bias norm_bias+u/8, but 1/4+u/32 and u/8 in bn2 and bn3; running_mean u/8; running_var
// 1.5+u/2.
inline std::vector<float> parameter(std::string_view name, const std::vector<std::int64_t>& shape,
                                    double norm_bias = 0) {
    std::size_t count = 1;
    for (std::int64_t dim : shape) count *= static_cast<std::size_t>(dim);
    const double fan_in = static_cast<double>(count) / static_cast<double>(shape.front());
    const auto ends = [&](std::string_view tail) { return name.ends_with(tail); };
    double offset = 1, scale = 0.125;
    if (shape.size() > 1) {
        offset = 0;
        scale = std::sqrt((shape.size() == 4 ? 6.0 : 1.0) / fan_in);
    } else if (ends("running_var")) {
        offset = 1.5;
        scale = 0.5;
    } else if (ends("running_mean") || ends("fc.bias") || ends("bn2.bias") || ends("bn3.bias")) {
        offset = 0;
    } else if (ends(".bias")) {
        offset = norm_bias;
    } else if (ends("bn2.weight") || ends("bn3.weight")) {
        offset = 0.25;
        scale = 0.03125;
    }
    const Stream stream(name);
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i)
        values[i] = static_cast<float>(offset + scale * stream.uniform(i));
    return values;
}

// u8 [count,size,size,3]: squares of 8x8 pixels, three parts, with noise, one part.
inline std::vector<std::uint8_t> images(const std::string& name, std::size_t count, std::size_t size) {
    const Stream noise(name), squares(name + "/squares");
    const std::size_t grid = (size + 7) / 8;
    std::vector<std::uint8_t> bytes(count * size * size * 3);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const std::size_t c = i % 3, x = i / 3 % size, y = i / 3 / size % size, n = i / 3 / size / size;
        const std::size_t square = ((n * grid + y / 8) * grid + x / 8) * 3 + c;
        bytes[i] = static_cast<std::uint8_t>((3 * (squares.hash(square) >> 24) + (noise.hash(i) >> 24)) >> 2);
    }
    return bytes;
}

inline std::vector<std::int32_t> labels(std::string_view name, std::size_t count, std::uint32_t classes) {
    const Stream stream(name);
    std::vector<std::int32_t> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<std::int32_t>(stream.hash(i) % classes);
    return values;
}

// What stands for a whole tensor in the committed files.
struct Summary {
    double sum = 0, norm = 0, dot = 0;  // dot: with the uniform numbers of name + "/dot"
    std::array<double, 4> samples{};    // element hash(name + "/samples", j) mod count
};

// Of `values`, or of values - base where the reference tells a change. Row-major in PyTorch's
// shape.
inline Summary summarize(const std::string& name, const float* values, std::size_t count,
                         const float* base = nullptr) {
    const auto at = [&](std::size_t i) {
        return static_cast<double>(values[i]) - (base ? static_cast<double>(base[i]) : 0.0);
    };
    const Stream direction(name + "/dot"), places(name + "/samples");
    Summary s;
    for (std::size_t i = 0; i < count; ++i) {
        s.sum += at(i);
        s.norm += at(i) * at(i);
        s.dot += at(i) * direction.uniform(i);
    }
    s.norm = std::sqrt(s.norm);
    for (std::size_t j = 0; j < s.samples.size(); ++j)
        s.samples[j] = at(places.hash(j) % static_cast<std::uint32_t>(count));
    return s;
}

// How far two summaries are apart, as a part of the tensor's norm; to be held against the
// reference's `tolerance`. The scale of a sum is norm*sqrt(count) and that of one element
// norm/sqrt(count); rounding errors of a single element reach four times theirs. NaN if anything
// compared is.
inline double difference(const Summary& got, const Summary& want, std::size_t count) {
    const double scale = want.norm > 0 ? want.norm : 1, root = std::sqrt(static_cast<double>(count));
    std::vector<double> parts{(got.sum - want.sum) / (scale * root), (got.norm - want.norm) / scale,
                              (got.dot - want.dot) / scale};
    for (std::size_t j = 0; j < want.samples.size(); ++j)
        parts.push_back((got.samples[j] - want.samples[j]) * root / (4 * scale));
    double worst = 0;
    for (double part : parts) {
        if (std::isnan(part)) return part;
        worst = std::max(worst, std::abs(part));
    }
    return worst;
}

}  // namespace onecycle::reference
