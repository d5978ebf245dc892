// Shapes, element types and memory layouts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace onecycle {

enum class DType : std::uint8_t { f32, i32, u8, bf16, f16 };

constexpr std::size_t size_of(DType type) {
    return type == DType::u8 ? 1 : type == DType::bf16 || type == DType::f16 ? 2 : 4;
}
const char* name_of(DType type);

// How the elements of a tensor lie in memory. Shapes are always written in PyTorch's order:
// activations [N,C,H,W], convolution weights [O,I,H,W]. Capital letters with a number name blocks
// as oneDNN does: nChw16c is [N, C/16, H, W, 16].
enum class Layout : std::uint8_t {
    plain,  // row-major in the order of the shape
    nhwc,
    nChw8c,
    nChw16c,
    ohwi,
    Ohwi8o,
    Ohwi16o,
    OIhw8i8o,
    OIhw16i16o,
    nhwc8c,  // nhwc and ohwi with the channels padded by zeros to a multiple of 8
    ohwi8i,
    any,  // only while a program is compiled: the operation chooses
};

const char* name_of(Layout layout);

struct TensorDesc {
    DType type = DType::f32;
    Layout layout = Layout::plain;
    int rank = 0;
    std::array<std::int64_t, 4> dims{};

    TensorDesc() = default;
    TensorDesc(std::initializer_list<std::int64_t> shape, Layout layout_ = Layout::plain,
               DType type_ = DType::f32)
        : type(type_), layout(layout_) {
        for (std::int64_t dim : shape) dims[static_cast<std::size_t>(rank++)] = dim;
    }

    std::int64_t operator[](int i) const { return dims[static_cast<std::size_t>(i)]; }
    std::int64_t elements() const {
        std::int64_t n = 1;
        for (int i = 0; i < rank; ++i) n *= dims[static_cast<std::size_t>(i)];
        return n;
    }
    // With the padding of the layout.
    std::int64_t stored_elements() const {
        const bool padded = layout == Layout::nhwc8c || layout == Layout::ohwi8i;
        return padded ? elements() / dims[1] * ((dims[1] + 7) / 8 * 8) : elements();
    }
    std::size_t bytes() const { return static_cast<std::size_t>(stored_elements()) * size_of(type); }
    bool same_shape(const TensorDesc& other) const { return rank == other.rank && dims == other.dims; }
};

// "[64,3,224,224] f32 nChw16c", for listings and errors.
std::string to_string(const TensorDesc& desc);

// The offset in elements of entry (i0,i1,i2,i3) of a tensor of this shape and layout: the
// definition of each layout, used by edges and tests, not by fast kernels. Unused indices are 0.
std::int64_t offset_of(const TensorDesc& desc, std::int64_t i0, std::int64_t i1 = 0, std::int64_t i2 = 0,
                       std::int64_t i3 = 0);

// Copies between plain order and a layout; used only where tensors enter or leave (weights of a
// file). Padding is set to zero.
void to_layout(const TensorDesc& desc, const float* plain, float* stored);
void to_plain(const TensorDesc& desc, const float* stored, float* plain);

}  // namespace onecycle
