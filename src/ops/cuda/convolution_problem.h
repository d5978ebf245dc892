// One convolution as cuDNN, the direct kernel and the emulator's loops see it. Matrix products of
// the classifier are convolutions of 1 x 1 images.
#pragma once

#include <cstdint>
#include <string>

#include "core/tensor.h"
#include "ops/ops.h"

namespace onecycle {

enum class Pass : std::uint8_t { forward, backward_data, backward_weights };

// y [N,OH,OW,O] = x [N,H,W,C] * w [O,K,K,C]; C counts padding channels too.
//   forward           x, w  -> y
//   backward_data     dy, w -> dx
//   backward_weights  dy, x -> dw
struct ConvolutionProblem {
    Pass pass = Pass::forward;
    DType type = DType::f32;         // of both inputs
    DType output_type = DType::f32;  // differs only in matrix products
    std::int64_t n = 1, h = 1, w = 1, c = 1, o = 1;
    int kernel = 1, stride = 1, padding = 0;
    bool accumulate = false;  // backward_data: dx += instead of dx =; rounded once

    std::int64_t out_h() const { return (h + 2 * padding - kernel) / stride + 1; }
    std::int64_t out_w() const { return (w + 2 * padding - kernel) / stride + 1; }
    std::int64_t x_elements() const { return n * h * w * c; }
    std::int64_t w_elements() const { return o * kernel * kernel * c; }
    std::int64_t y_elements() const { return n * out_h() * out_w() * o; }
    // Multiply-adds, border included.
    std::int64_t products() const { return y_elements() * kernel * kernel * c; }
};

// The problem of a conv2d operation of any pass. Checks types, shapes and layouts (nhwc and ohwi,
// or nhwc8c and ohwi8i) and decides the layout of the output; throws Error(device).
ConvolutionProblem convolution_problem(OpDesc& desc);

const char* name_of(Pass pass);
// "forward bf16 256x56x56x64 64 3x3 /1 +1", and " beta" at its end with accumulate: the key of plan
// caches.
std::string to_string(const ConvolutionProblem& problem);

}  // namespace onecycle
