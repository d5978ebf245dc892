#include "kernels/batch_norm_backward.h"

#include "kernels/batch_norm_backward_passes.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

// g = dy + dy2, 0 where y <= 0. Bytes, in tensors of the size of x, without dy2 (2 more, 1 where
// `stored`):
//   ReLU or none: dy, x twice, dx                                   5
//   residual:     dy, x, y read, g written; g, x read, dx written   7
//   pair:         dy, y, x, x2 twice, dx, dx2                      10
template <typename T, bool with_y, bool with_storing>
struct Sum {
    static constexpr bool mask_from_x = !with_y && !with_storing, stored = with_storing;
    static constexpr int reduce_blocks = 2, apply_blocks = 2, rows_at_once = 2;
    const T* dy;   // [rows, C]
    const T* dy2;  // [rows, C] or null
    const T* y;    // [rows, C] or null

    template <int V>
    struct Loaded {
        Pack<T, V> dy, dy2, y;
    };
    template <int V>
    __device__ Loaded<V> load(std::int64_t, std::int64_t at) const {
        Loaded<V> loaded;
        loaded.dy = load_pack<V>(dy + at);
        // Where there is no such tensor dy again, from L1: a vector loaded in a branch takes a
        // register an element.
        loaded.dy2 = load_pack<V>((dy2 ? dy2 : dy) + at);
        if constexpr (with_y) loaded.y = load_pack<V>((y ? y : dy) + at);
        return loaded;
    }
    template <int V>
    __device__ void make(const Loaded<V>& loaded, float (&g)[V]) const {
#pragma unroll
        for (int k = 0; k < V; ++k) {
            g[k] = to_float(loaded.dy.v[k]);
            if (dy2) g[k] += to_float(loaded.dy2.v[k]);
            if constexpr (with_y)
                if (y && !(to_float(loaded.y.v[k]) > 0)) g[k] = 0;
        }
    }
};

constexpr PassNames single_names{"batch_norm_backward_reduce", "batch_norm_backward_finish",
                                 "batch_norm_backward_apply", "batch_norm_backward"};
constexpr PassNames residual_names{"batch_norm_residual_backward_reduce",
                                   "batch_norm_residual_backward_finish",
                                   "batch_norm_residual_backward_apply", "batch_norm_residual_backward"};
constexpr PassNames pair_names{"batch_norm_pair_backward_reduce", "batch_norm_pair_backward_finish",
                               "batch_norm_pair_backward_apply", "batch_norm_pair_backward"};

}  // namespace

template <typename T>
void batch_norm_backward(const NormGradient<T>& norm, const T* dy, const T* dy2, bool relu,
                         const BatchNormShape& shape, void* workspace, cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        auto pass =
            backward_pass<T, V, Sum<T, false, false>, 1>({dy, dy2, nullptr}, {norm}, shape, workspace);
        pass.relu = relu;
        run_passes(single_names, pass, shape, stream);
    });
}

template <typename T>
void batch_norm_residual_backward(const NormGradient<T>& norm, T* dresidual, const T* dy, const T* dy2,
                                  const T* y, const BatchNormShape& shape, void* workspace,
                                  cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        auto pass = backward_pass<T, V, Sum<T, true, true>, 1>({dy, dy2, y}, {norm}, shape, workspace);
        pass.g_out = dresidual;
        run_passes(residual_names, pass, shape, stream);
    });
}

template <typename T>
void batch_norm_gradients(const NormGradient<T>& norm, T* dresidual, const T* dy, const T* dy2, const T* y,
                          bool relu, const BatchNormShape& shape, void* workspace, cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        if (dresidual) {
            auto pass = backward_pass<T, V, Sum<T, true, true>, 1>({dy, dy2, y}, {norm}, shape, workspace);
            pass.g_out = dresidual;
            run_reduction(residual_names, pass, stream);
        } else {
            auto pass =
                backward_pass<T, V, Sum<T, false, false>, 1>({dy, dy2, nullptr}, {norm}, shape, workspace);
            pass.relu = relu;
            run_reduction(single_names, pass, stream);
        }
    });
}

template <typename T>
void batch_norm_input_gradient(const NormGradient<T>& norm, const T* dy, const T* dy2, bool relu,
                               const BatchNormShape& shape, cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        auto pass = backward_pass<T, V, Sum<T, false, false>, 1>({dy, dy2, nullptr}, {norm}, shape, nullptr);
        pass.relu = relu;
        launch(single_names.apply, apply_kernel<decltype(pass)>, tile_grid(pass.apply_tiles()), stream, pass);
    });
}

template <typename T>
void batch_norm_pair_backward(const NormGradient<T>& a, const NormGradient<T>& b, const T* dy, const T* dy2,
                              const T* y, const BatchNormShape& shape, void* workspace, cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        run_passes(pair_names,
                   backward_pass<T, V, Sum<T, true, false>, 2>({dy, dy2, y}, {a, b}, shape, workspace), shape,
                   stream);
    });
}

template <typename T>
std::size_t batch_norm_backward_workspace(std::int64_t rows, std::int64_t channels, int tensors) {
    std::size_t floats = 0;
    with_vector<T>(channels, [&]<int V>() {
        floats = static_cast<std::size_t>(channel_tiles(rows, channels, V).slots) *
                 static_cast<std::size_t>(1 + tensors) * static_cast<std::size_t>(channels);
    });
    return floats * sizeof(float);
}

#define ONECYCLE_INSTANTIATE(T)                                                                             \
    template void batch_norm_backward<T>(const NormGradient<T>&, const T*, const T*, bool,                  \
                                         const BatchNormShape&, void*, cudaStream_t);                       \
    template void batch_norm_residual_backward<T>(const NormGradient<T>&, T*, const T*, const T*, const T*, \
                                                  const BatchNormShape&, void*, cudaStream_t);              \
    template void batch_norm_gradients<T>(const NormGradient<T>&, T*, const T*, const T*, const T*, bool,   \
                                          const BatchNormShape&, void*, cudaStream_t);                      \
    template void batch_norm_input_gradient<T>(const NormGradient<T>&, const T*, const T*, bool,            \
                                               const BatchNormShape&, cudaStream_t);                        \
    template void batch_norm_pair_backward<T>(const NormGradient<T>&, const NormGradient<T>&, const T*,     \
                                              const T*, const T*, const BatchNormShape&, void*,             \
                                              cudaStream_t);                                                \
    template std::size_t batch_norm_backward_workspace<T>(std::int64_t, std::int64_t, int);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
