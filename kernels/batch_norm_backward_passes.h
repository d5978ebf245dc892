// The passes of batch norm's gradients, whatever the gradient g of bn(x) is made of. Plain-loop
// equivalent, for channel c with M rows and r = 1 / sqrt(variance + epsilon):
//   dbeta = sum(g);  dgamma = r sum(g (x - mean))
//   dx = gamma r (g - dbeta / M - (x - mean) r dgamma / M)
// A pair has one g and two x. Bytes: x and what g is made of twice, dx once. The second pass walks
// backwards: the end of what the first one read is still in L2.
#pragma once

#include "kernels/batch_norm_backward.h"
#include "kernels/batch_norm_passes.h"

namespace onecycle::ONECYCLE_CUDA {

// `Source` gives g:
//   mask_from_x          g is 0 where `relu` and bn(x) <= 0
//   stored               the first pass writes g to `g_out`, the second reads it there
//   Loaded               what a row's g is made of
//   load<V>(row, at)     loads it; at = row * C + channel
//   make<V>(loaded, g)   makes g of it, masks of its own included
template <typename T, int V, typename Source, int tensors>
struct Backward {
    using First = Backward;
    static constexpr int reduce_blocks = Source::reduce_blocks, apply_blocks = Source::apply_blocks;
    static constexpr int quantities = 1 + tensors;

    ChannelTiles tiles;
    Source source;
    NormGradient<T> norm[tensors];
    T* g_out;  // [rows, C], where `stored`
    bool relu;
    double epsilon;
    float* slots;  // [slots, 1 + tensors, C]: sum of g, sums of g (x - mean)

    __host__ __device__ int reduce_tiles() const { return tiles.count(); }
    __host__ __device__ int finish_channels() const { return tiles.channels; }
    __host__ __device__ int apply_tiles() const { return tiles.count(); }

    struct Loaded {
        typename Source::template Loaded<V> op_from;
        Pack<T, V> x[tensors];
    };
    struct LoadedAgain {
        Pack<T, V> g, x[tensors];
    };

    __device__ std::int64_t offset(const TilePlace<V>& place, std::int64_t row) const {
        return row * tiles.channels + place.channel;
    }

    __device__ Loaded load(const TilePlace<V>& place, std::int64_t row) const {
        const std::int64_t at = offset(place, row);
        Loaded loaded;
        loaded.op_from = source.template load<V>(row, at);
#pragma unroll
        for (int i = 0; i < tensors; ++i) loaded.x[i] = load_pack<V>(norm[i].x + at);
        return loaded;
    }

    __device__ void gradient(const Loaded& loaded, const float (&scale)[V], const float (&shift)[V],
                             float (&g)[V]) const {
        source.template make<V>(loaded.op_from, g);
        if constexpr (Source::mask_from_x)
#pragma unroll
            for (int k = 0; k < V; ++k)
                if (relu && !(normalized(loaded.x[0].v[k], scale[k], shift[k]) > 0)) g[k] = 0;
    }

    __device__ void reduce(int tile) const {
        const TilePlace<V> place(tiles, tile);
        float mean[tensors][V], mask[2][V];  // mask: scale, shift
        means_and_mask(place, mean, mask);
        float sums[quantities][V] = {};
        for_rows<Source::rows_at_once, false>(
            tiles, place, 0, [&](std::int64_t row) { return load(place, row); },
            [&](std::int64_t row, const Loaded& loaded) {
                float g[V];
                gradient(loaded, mask[0], mask[1], g);
                if constexpr (Source::stored) {
                    Pack<T, V> rounded;  // the sums are of g as it was
#pragma unroll
                    for (int k = 0; k < V; ++k) rounded.v[k] = from_float<T>(g[k]);
                    store_pack(g_out + offset(place, row), rounded);
                }
#pragma unroll
                for (int k = 0; k < V; ++k) {
                    sums[0][k] += g[k];
#pragma unroll
                    for (int i = 0; i < tensors; ++i)
                        sums[1 + i][k] = fmaf(g[k], to_float(loaded.x[i].v[k]) - mean[i][k], sums[1 + i][k]);
                }
            });
        const TileSums<quantities> of_tile(tiles, place, sums);
#pragma unroll
        for (int q = 0; q < quantities; ++q) {
            const float sum = of_tile.sum(q);
            if (of_tile.writes) slot(place.slot, q)[of_tile.channel] = sum;
        }
    }

    __device__ void finish(int c, int lane) const {
        double sums[quantities];
#pragma unroll
        for (int q = 0; q < quantities; ++q)
            sums[q] = sum_parts<double>(tiles.slots, lane, warp_lanes,
                                        [&](int i) { return static_cast<double>(slot(i, q)[c]); });
        if (lane != 0) return;
#pragma unroll
        for (int i = 0; i < tensors; ++i) {
            norm[i].dbeta[c] = static_cast<float>(sums[0]);
            norm[i].dgamma[c] =
                static_cast<float>(sums[1 + i] / sqrt(static_cast<double>(norm[i].variance[c]) + epsilon));
        }
    }

    // dx = scale (g - share - (x - mean) slope), with share = dbeta / M and slope = r dgamma / M.
    __device__ void apply(int tile) const {
        const TilePlace<V> place(tiles, tile);
        constexpr int of_tensor = 3;
        float of_channel[2 + of_tensor * tensors][V];  // share, shift, then scale, mean, slope of each
        channel_values(tiles, place, of_channel, [&](int c, float(&values)[2 + of_tensor * tensors]) {
            const double rows = static_cast<double>(tiles.rows);
            values[0] = static_cast<float>(static_cast<double>(norm[0].dbeta[c]) / rows);
            values[1] = 0;
#pragma unroll
            for (int i = 0; i < tensors; ++i) {
                const ScaleShift s = scale_shift_of(i, c);
                if (Source::mask_from_x) values[1] = s.shift;
                values[2 + of_tensor * i] = s.scale;
                values[3 + of_tensor * i] = norm[i].mean[c];
                values[4 + of_tensor * i] =
                    static_cast<float>(static_cast<double>(norm[i].dgamma[c]) /
                                       (sqrt(static_cast<double>(norm[i].variance[c]) + epsilon) * rows));
            }
        });
        const auto write = [&](std::int64_t row, const float(&g)[V], const Pack<T, V>(&x)[tensors]) {
#pragma unroll
            for (int i = 0; i < tensors; ++i) {
                const auto& scale = of_channel[2 + of_tensor * i];
                const auto& mean = of_channel[3 + of_tensor * i];
                const auto& slope = of_channel[4 + of_tensor * i];
                Pack<T, V> dx;
#pragma unroll
                for (int k = 0; k < V; ++k)
                    dx.v[k] = from_float<T>(
                        scale[k] * (g[k] - of_channel[0][k] - (to_float(x[i].v[k]) - mean[k]) * slope[k]));
                store_pack(norm[i].dx + offset(place, row), dx);
            }
        };
        if constexpr (Source::stored)
            for_rows<Source::rows_at_once, true>(
                tiles, place, 0,
                [&](std::int64_t row) {
                    LoadedAgain loaded;
                    loaded.g = load_pack<V>(g_out + offset(place, row));
                    loaded.x[0] = load_pack<V>(norm[0].x + offset(place, row));
                    return loaded;
                },
                [&](std::int64_t row, const LoadedAgain& loaded) {
                    float g[V];
#pragma unroll
                    for (int k = 0; k < V; ++k) g[k] = to_float(loaded.g.v[k]);
                    write(row, g, loaded.x);
                });
        else
            for_rows<Source::rows_at_once, true>(
                tiles, place, 0, [&](std::int64_t row) { return load(place, row); },
                [&](std::int64_t row, const Loaded& loaded) {
                    float g[V];
                    gradient(loaded, of_channel[2], of_channel[1], g);
                    write(row, g, loaded.x);
                });
    }

  private:
    __device__ float* slot(int i, int quantity) const {
        return slots + (std::int64_t{i} * quantities + quantity) * tiles.channels;
    }
    __device__ ScaleShift scale_shift_of(int i, int c) const {
        return scale_shift(norm[i].mean[c], norm[i].variance[c], norm[i].gamma[c],
                           Source::mask_from_x ? norm[i].beta[c] : 0.0f, epsilon);
    }
    __device__ void means_and_mask(const TilePlace<V>& place, float (&mean)[tensors][V],
                                   float (&mask)[2][V]) const {
        if constexpr (Source::mask_from_x) {
            float of_channel[3][V];
            channel_values(tiles, place, of_channel, [&](int c, float(&values)[3]) {
                const ScaleShift s = scale_shift_of(0, c);
                values[0] = norm[0].mean[c];
                values[1] = s.scale;
                values[2] = s.shift;
            });
#pragma unroll
            for (int k = 0; k < V; ++k) {
                mean[0][k] = of_channel[0][k];
                mask[0][k] = of_channel[1][k];
                mask[1][k] = of_channel[2][k];
            }
        } else {
            channel_values(tiles, place, mean, [&](int c, float(&values)[tensors]) {
                for (int i = 0; i < tensors; ++i) values[i] = norm[i].mean[c];
            });
        }
    }
};

template <typename T, int V, typename Source, int tensors>
Backward<T, V, Source, tensors> backward_pass(const Source& source, const NormGradient<T> (&norms)[tensors],
                                              const BatchNormShape& shape, void* workspace) {
    Backward<T, V, Source, tensors> pass{};
    pass.tiles = channel_tiles(shape.rows, shape.channels, V);
    pass.source = source;
    for (int i = 0; i < tensors; ++i) pass.norm[i] = norms[i];
    pass.epsilon = shape.epsilon;
    pass.slots = static_cast<float*>(workspace);
    return pass;
}

}  // namespace onecycle::ONECYCLE_CUDA
