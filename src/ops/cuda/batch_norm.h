// What the batch-norm operations check and derive alike.
#pragma once

#include <cstddef>

#include "kernels/batch_norm.h"
#include "kernels/pool.h"
#include "ops/cuda/builders.h"

namespace onecycle::ONECYCLE_CUDA {

inline void require_nhwc(const OpDesc& desc, const TensorDesc& x) {
    require(x.rank == 4 && x.layout == Layout::nhwc && x.elements() > 0, desc, "x is no activation in nhwc");
}

// Features [N,C] are images of one pixel in nhwc.
inline void require_rows(const OpDesc& desc, const TensorDesc& x) {
    if (x.rank != 2) return require_nhwc(desc, x);
    require(x.layout == Layout::plain && x.elements() > 0, desc, "x is no features in plain order");
}

// `read_twice`: tensors of the size of x that both passes read.
inline BatchNormShape batch_norm_shape(const OpDesc& desc, const TensorDesc& x, std::size_t read_twice,
                                       const Context& context) {
    const bool one_grid = read_twice * x.bytes() <= context.one_grid_bytes;
    return {.rows = x.elements() / x[1],
            .channels = x[1],
            .epsilon = desc.epsilon,
            .one_grid_multiprocessors = one_grid ? context.multiprocessors : 0};
}

// What both passes read fits in L2, where the second one finds it.
inline BuiltOp with_passes(const BatchNormShape& shape, BuiltOp made) {
    made.second_pass_cached = shape.one_grid_multiprocessors > 0;
    return made;
}

// Checks that the window leads from x to y and that the index fits; both are in nhwc.
inline PoolShape pool_shape(const OpDesc& desc, const TensorDesc& x, const TensorDesc& y,
                            const TensorDesc& index) {
    require_nhwc(desc, x);
    require_window(desc, x, y, index);
    require(x[0] * x[2] * x[3] < std::int64_t{1} << 31, desc, "x has 2^31 pixels or more");
    return {.images = x[0],
            .channels = x[1],
            .height = static_cast<int>(x[2]),
            .width = static_cast<int>(x[3]),
            .out_height = static_cast<int>(y[2]),
            .out_width = static_cast<int>(y[3]),
            .kernel = desc.kernel,
            .stride = desc.stride,
            .padding = desc.padding};
}

}  // namespace onecycle::ONECYCLE_CUDA
