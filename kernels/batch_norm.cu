#include "kernels/batch_norm.h"

#include "kernels/batch_norm_passes.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

// Plain-loop equivalent, for channel c:
//   mean[c], variance[c] as in Statistics
//   y[r][c] = max(0, gamma[c] (x[r][c] - mean[c]) / sqrt(variance[c] + epsilon) + beta[c] + residual[r][c])
// and for a pair
//   y[r][c] = max(0, bn(x)[r][c] + bn2(x2)[r][c])
// Bytes: x read twice, y written, the residual read: 3 tensors, 4 with a residual; a pair 5. The
// second pass walks backwards: the end of x is still in L2.
template <typename T, int V, bool pair>
struct Forward : Statistics<T, V> {
    static constexpr int apply_blocks = 4;
    static constexpr int values = pair ? 3 : 2;  // of a channel: scale, shift (of both), scale of the second
    using Statistics<T, V>::tiles;
    const float* gamma[2];  // [C]
    const float* beta[2];   // [C]
    const T* residual;      // [rows, C] or null
    T* y;                   // [rows, C]
    bool relu;
    double epsilon;

    __host__ __device__ int apply_tiles() const { return tiles.count(); }

    __device__ ScaleShift scale_shift_of(int tensor, int c) const {
        return scale_shift(this->mean[tensor][c], this->variance[tensor][c], gamma[tensor][c],
                           beta[tensor][c], epsilon);
    }

    // `with_other`: a second tensor is read beside x, which is x2 or the residual.
    template <bool with_other>
    __device__ void apply_rows(const TilePlace<V>& place, const float (&of_channel)[values][V]) const {
        struct Loaded {
            Pack<T, V> x, other;
        };
        const T* const second = pair ? this->x[1] : residual;
        for_rows<with_other ? 2 : 4, true>(
            tiles, place, 0,
            [&](std::int64_t row) {
                const std::int64_t at = row * tiles.channels + place.channel;
                Loaded loaded;
                loaded.x = load_pack<V>(this->x[0] + at);
                if constexpr (with_other) loaded.other = load_pack<V>(second + at);
                return loaded;
            },
            [&](std::int64_t row, const Loaded& loaded) {
                Pack<T, V> out;
#pragma unroll
                for (int k = 0; k < V; ++k) {
                    float value = fmaf(to_float(loaded.x.v[k]), of_channel[0][k], of_channel[1][k]);
                    if constexpr (pair)
                        value = fmaf(to_float(loaded.other.v[k]), of_channel[2][k], value);
                    else if constexpr (with_other)
                        value += to_float(loaded.other.v[k]);
                    out.v[k] = from_float<T>(relu ? positive_part(value) : value);
                }
                store_pack(y + row * tiles.channels + place.channel, out);
            });
    }

    __device__ void apply(int tile) const {
        const TilePlace<V> place(tiles, tile);
        float of_channel[values][V];
        channel_values(tiles, place, of_channel, [&](int c, float(&one)[values]) {
            const ScaleShift first = scale_shift_of(0, c);
            one[0] = first.scale;
            one[1] = first.shift;
            if constexpr (pair) {
                const ScaleShift second = scale_shift_of(1, c);
                one[1] += second.shift;
                one[2] = second.scale;
            }
        });
        if (pair || residual)
            apply_rows<true>(place, of_channel);
        else
            apply_rows<pair>(place, of_channel);
    }
};

constexpr PassNames single_names{"batch_norm_statistics", "batch_norm_finish", "batch_norm_apply",
                                 "batch_norm"};
constexpr PassNames pair_names{"batch_norm_pair_statistics", "batch_norm_pair_finish",
                               "batch_norm_pair_apply", "batch_norm_pair"};

template <typename T, int V, bool pair>
Forward<T, V, pair> forward_pass(T* y, const NormOperands<T>& a, const NormOperands<T>& b,
                                 const BatchNormShape& shape, void* workspace) {
    Forward<T, V, pair> pass{};
    pass.tiles = channel_tiles(shape.rows, shape.channels, V);
    pass.tensors = pair ? 2 : 1;
    pass.slots = static_cast<float*>(workspace);
    const NormOperands<T>* const norms[] = {&a, &b};
    for (int i = 0; i < 2; ++i) {
        pass.x[i] = norms[i]->x;
        pass.mean[i] = norms[i]->mean;
        pass.variance[i] = norms[i]->variance;
        pass.gamma[i] = norms[i]->gamma;
        pass.beta[i] = norms[i]->beta;
    }
    pass.y = y;
    pass.relu = pair;
    pass.epsilon = shape.epsilon;
    return pass;
}

}  // namespace

template <typename T>
void batch_norm(T* y, const NormOperands<T>& norm, const T* residual, bool relu, const BatchNormShape& shape,
                void* workspace, cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        auto pass = forward_pass<T, V, false>(y, norm, norm, shape, workspace);
        pass.residual = residual;
        pass.relu = relu;
        run_passes(single_names, pass, shape, stream);
    });
}

template <typename T>
void batch_norm_statistics(float* mean, float* variance, const T* x, const BatchNormShape& shape,
                           void* workspace, cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        Statistics<T, V> pass{};
        pass.tiles = channel_tiles(shape.rows, shape.channels, V);
        pass.tensors = 1;
        pass.x[0] = x;
        pass.mean[0] = mean;
        pass.variance[0] = variance;
        pass.slots = static_cast<float*>(workspace);
        run_reduction(single_names, pass, stream);
    });
}

template <typename T>
void batch_norm_inference(T* y, const T* x, const float* gamma, const float* beta, const float* mean,
                          const float* variance, const T* residual, bool relu, const BatchNormShape& shape,
                          cudaStream_t stream) {
    // The second pass only reads the statistics.
    const NormOperands<T> norm{x, gamma, beta, const_cast<float*>(mean), const_cast<float*>(variance)};
    with_vector<T>(shape.channels, [&]<int V>() {
        auto pass = forward_pass<T, V, false>(y, norm, norm, shape, nullptr);
        pass.residual = residual;
        pass.relu = relu;
        launch("batch_norm_inference", apply_kernel<decltype(pass)>, tile_grid(pass.apply_tiles()), stream,
               pass);
    });
}

template <typename T>
void batch_norm_pair(T* y, const NormOperands<T>& a, const NormOperands<T>& b, const BatchNormShape& shape,
                     void* workspace, cudaStream_t stream) {
    with_vector<T>(shape.channels, [&]<int V>() {
        run_passes(pair_names, forward_pass<T, V, true>(y, a, b, shape, workspace), shape, stream);
    });
}

template <typename T>
std::size_t batch_norm_workspace(std::int64_t rows, std::int64_t channels, int tensors) {
    std::size_t bytes = 0;
    with_vector<T>(channels, [&]<int V>() {
        bytes = Statistics<T, V>::workspace_bytes(channel_tiles(rows, channels, V), tensors);
    });
    return bytes;
}

#define ONECYCLE_INSTANTIATE(T)                                                                           \
    template void batch_norm<T>(T*, const NormOperands<T>&, const T*, bool, const BatchNormShape&, void*, \
                                cudaStream_t);                                                            \
    template void batch_norm_statistics<T>(float*, float*, const T*, const BatchNormShape&, void*,        \
                                           cudaStream_t);                                                 \
    template void batch_norm_inference<T>(T*, const T*, const float*, const float*, const float*,         \
                                          const float*, const T*, bool, const BatchNormShape&,            \
                                          cudaStream_t);                                                  \
    template void batch_norm_pair<T>(T*, const NormOperands<T>&, const NormOperands<T>&,                  \
                                     const BatchNormShape&, void*, cudaStream_t);                         \
    template std::size_t batch_norm_workspace<T>(std::int64_t, std::int64_t, int);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
