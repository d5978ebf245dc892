#include "kernels/batch_norm_max_pool.h"

#include "kernels/batch_norm_backward_passes.h"
#include "kernels/batch_norm_passes.h"
#include "kernels/pool_window.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

// mean, variance as in Statistics; y = max over the window of max(0, bn(x)), which is formed where
// it is needed: 9/4 times for a 3x3 window of stride 2. Bytes: x twice, y and index once.
template <typename T, int V>
struct PooledForward : Statistics<T, V> {
    static constexpr int apply_blocks = 3;
    using Statistics<T, V>::tiles;
    ChannelTiles out_tiles;  // over the rows of y
    PoolShape pool;
    const float* gamma;   // [C]
    const float* beta;    // [C]
    T* y;                 // [N,OH,OW,C]
    std::uint8_t* index;  // [N,OH,OW,C]
    double epsilon;

    __host__ __device__ int apply_tiles() const { return out_tiles.count(); }

    __device__ void apply(int tile) const {
        const TilePlace<V> place(out_tiles, tile);
        float of_channel[2][V];  // scale, shift
        channel_values(out_tiles, place, of_channel, [&](int c, float(&values)[2]) {
            const ScaleShift s =
                scale_shift(this->mean[0][c], this->variance[0][c], gamma[c], beta[c], epsilon);
            values[0] = s.scale;
            values[1] = s.shift;
        });
        for (int i = place.count; i-- > 0;)
            pool_pixel<V>(pool, place.row(out_tiles, i), this->x[0] + place.channel, y + place.channel,
                          index + place.channel, [&](T value, int k) {
                              return positive_part(normalized(value, of_channel[0][k], of_channel[1][k]));
                          });
    }
};

// g of a pixel of x is gathered from the windows, then masked where bn(x) <= 0 (which the maximum
// of a window without a positive value also is). Bytes: dy, index and x twice, dx once.
template <typename T>
struct Gathered {
    static constexpr bool mask_from_x = true, stored = false;
    static constexpr int reduce_blocks = 2, apply_blocks = 2, rows_at_once = 1;
    PoolShape pool;
    const T* dy;                // [N,OH,OW,C]
    const T* dy2;               // [N,OH,OW,C] or null
    const std::uint8_t* index;  // [N,OH,OW,C]

    template <int V>
    struct Loaded {
        float g[V];
    };
    template <int V>
    __device__ Loaded<V> load(std::int64_t row, std::int64_t at) const {
        const std::int64_t channel = at - row * pool.channels;
        Loaded<V> loaded;
        gather_pixel<V>(pool, row, dy + channel, dy2 ? dy2 + channel : nullptr, index + channel, loaded.g);
        return loaded;
    }
    template <int V>
    __device__ void make(const Loaded<V>& loaded, float (&g)[V]) const {
#pragma unroll
        for (int k = 0; k < V; ++k) g[k] = loaded.g[k];
    }
};

constexpr PassNames forward_names{"batch_norm_max_pool_statistics", "batch_norm_max_pool_finish",
                                  "batch_norm_max_pool_apply"};
constexpr PassNames backward_names{"batch_norm_max_pool_backward_reduce",
                                   "batch_norm_max_pool_backward_finish",
                                   "batch_norm_max_pool_backward_apply"};

}  // namespace

template <typename T>
void batch_norm_max_pool(T* y, std::uint8_t* index, const NormOperands<T>& norm, const BatchNormShape& batch,
                         const PoolShape& pool, void* workspace, cudaStream_t stream) {
    with_vector<T>(batch.channels, [&]<int V>() {
        PooledForward<T, V> pass{};
        pass.tiles = channel_tiles(batch.rows, batch.channels, V);
        pass.tensors = 1;
        pass.x[0] = norm.x;
        pass.mean[0] = norm.mean;
        pass.variance[0] = norm.variance;
        pass.slots = static_cast<float*>(workspace);
        pass.out_tiles = channel_tiles(pool.images * pool.out_height * pool.out_width, pool.channels, V);
        pass.pool = pool;
        pass.gamma = norm.gamma;
        pass.beta = norm.beta;
        pass.y = y;
        pass.index = index;
        pass.epsilon = batch.epsilon;
        run_three_kernels(forward_names, pass, stream);
    });
}

template <typename T>
void batch_norm_max_pool_backward(const NormGradient<T>& norm, const T* dy, const T* dy2,
                                  const std::uint8_t* index, const BatchNormShape& batch,
                                  const PoolShape& pool, void* workspace, cudaStream_t stream) {
    with_vector<T>(batch.channels, [&]<int V>() {
        auto pass = backward_pass<T, V, Gathered<T>, 1>({pool, dy, dy2, index}, {norm}, batch, workspace);
        pass.relu = true;
        run_three_kernels(backward_names, pass, stream);
    });
}

#define ONECYCLE_INSTANTIATE(T)                                                                            \
    template void batch_norm_max_pool<T>(T*, std::uint8_t*, const NormOperands<T>&, const BatchNormShape&, \
                                         const PoolShape&, void*, cudaStream_t);                           \
    template void batch_norm_max_pool_backward<T>(const NormGradient<T>&, const T*, const T*,              \
                                                  const std::uint8_t*, const BatchNormShape&,              \
                                                  const PoolShape&, void*, cudaStream_t);
ONECYCLE_INSTANTIATE(float)
ONECYCLE_INSTANTIATE(bf16)
ONECYCLE_INSTANTIATE(f16)

}  // namespace onecycle::ONECYCLE_CUDA
