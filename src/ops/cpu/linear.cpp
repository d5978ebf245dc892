// The classifier: y = x w^T + b with x [N,K], w [O,K]. Small matrices, so plain blocked loops with
// sums kept in registers; each output element is computed by one thread in one order.
#include "ops/cpu/builders.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/simd.h"

namespace onecycle::cpu {

using simd::Float8;
using simd::UnalignedFloat8;

namespace {

ONECYCLE_INLINE Float8 load8(const float* p) {
    return *reinterpret_cast<const UnalignedFloat8*>(p);
}

// Dot products of `rows` rows of x with four rows of w, all of length k.
template <int rows>
ONECYCLE_INLINE void dot_tile(const float* const* x, const float* const* w, std::int64_t k, float* sums) {
    Float8 sum[rows][4] = {};
    std::int64_t i = 0;
    for (; i + 8 <= k; i += 8)
        for (int r = 0; r < rows; ++r)
            for (int c = 0; c < 4; ++c) sum[r][c] += load8(x[r] + i) * load8(w[c] + i);
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < 4; ++c) {
            float total = simd::sum_of(sum[r][c]);
            for (std::int64_t j = i; j < k; ++j) total += x[r][j] * w[c][j];
            sums[r * 4 + c] = total;
        }
}

// y[:, outputs], with b or without (null), for four rows of w at a time, two rows of x at a time.
ONECYCLE_CLONES
void forward_columns(const float* x, const float* w, const float* b, float* y, std::int64_t n, std::int64_t k,
                     std::int64_t outputs, Range columns) {
    for (std::int64_t o = columns.begin; o < columns.end; o += 4) {
        const std::int64_t some = std::min<std::int64_t>(4, columns.end - o);
        const float* rows_of_w[4];
        for (std::int64_t c = 0; c < 4; ++c) rows_of_w[c] = w + (o + std::min(c, some - 1)) * k;
        for (std::int64_t i = 0; i < n; i += 2) {
            const std::int64_t last = std::min(i + 1, n - 1);
            const float* const rows_of_x[2] = {x + i * k, x + last * k};
            float sums[8];
            dot_tile<2>(rows_of_x, rows_of_w, k, sums);
            for (std::int64_t c = 0; c < some; ++c) {
                const float bias = b ? b[o + c] : 0.0f;
                y[i * outputs + o + c] = sums[c] + bias;
                y[last * outputs + o + c] = sums[(last - i) * 4 + c] + bias;
            }
        }
    }
}

// out[i][j] = sum over r of a[i*a_i + r*a_r] * b[r*columns + j], i < count: both backward products.
struct Product {
    const float* a;
    std::int64_t a_i, a_r;
    const float* b;
    float* out;
    std::int64_t count, sums, columns;
};

template <int height>
ONECYCLE_INLINE void product_rows(const Product& p, std::int64_t i) {
    std::int64_t j = 0;
    for (; j + 16 <= p.columns; j += 16) {
        Float8 sum[height][2] = {};
        for (std::int64_t r = 0; r < p.sums; ++r) {
            const float* b = p.b + r * p.columns + j;
            for (int h = 0; h < height; ++h) {
                const Float8 a = Float8{} + p.a[(i + h) * p.a_i + r * p.a_r];
                sum[h][0] += a * load8(b);
                sum[h][1] += a * load8(b + 8);
            }
        }
        for (int h = 0; h < height; ++h)
            for (int s = 0; s < 2; ++s)
                *reinterpret_cast<UnalignedFloat8*>(p.out + (i + h) * p.columns + j + 8 * s) = sum[h][s];
    }
    for (; j < p.columns; ++j)
        for (int h = 0; h < height; ++h) {
            float sum = 0;
            for (std::int64_t r = 0; r < p.sums; ++r)
                sum += p.a[(i + h) * p.a_i + r * p.a_r] * p.b[r * p.columns + j];
            p.out[(i + h) * p.columns + j] = sum;
        }
}

ONECYCLE_CLONES
void product(const Product& p, std::int64_t tile) {
    const std::int64_t i = tile * 4;
    if (i + 4 <= p.count) return product_rows<4>(p, i);
    for (std::int64_t k = i; k < p.count; ++k) product_rows<1>(p, k);
}

void run_product(int threads, const Product& p) {
    parallel_for(threads_for(threads, p.count * p.sums * p.columns), (p.count + 3) / 4,
                 [&](std::int64_t tile) { product(p, tile); });
}

}  // namespace

BuiltOp make_linear(const OpDesc& desc, const Context& context) {
    require_operands(desc, desc.bias ? 3 : 2, 1);
    const std::int64_t n = desc.inputs[0][0], k = desc.inputs[0][1], o = desc.inputs[1][0];
    require_plain(desc, desc.inputs[0], {n, k}, "x");
    require_plain(desc, desc.inputs[1], {o, k}, "w");
    if (desc.bias) require_plain(desc, desc.inputs[2], {o}, "b");
    OpDesc decided = desc;
    adopt_layout(decided, 0, Layout::plain);
    require_plain(decided, decided.outputs[0], {n, o}, "y");
    const auto run = [=, bias = desc.bias, threads = context.threads](void* const* in, void* const* out,
                                                                      void*) {
        const float* const b = bias ? floats(in[2]) : nullptr;
        parallel_for(threads_for(threads, n * k * o), (o + 3) / 4, [&](std::int64_t tile) {
            forward_columns(floats(in[0]), floats(in[1]), b, floats_out(out[0]), n, k, o,
                            {tile * 4, std::min(o, tile * 4 + 4)});
        });
    };
    return op_from(decided, 0, run);
}

BuiltOp make_linear_backward_data(const OpDesc& desc, const Context& context) {
    require_operands(desc, 2, 1);
    const std::int64_t n = desc.inputs[0][0], o = desc.inputs[0][1], k = desc.inputs[1][1];
    require_plain(desc, desc.inputs[0], {n, o}, "dy");
    require_plain(desc, desc.inputs[1], {o, k}, "w");
    OpDesc decided = desc;
    adopt_layout(decided, 0, Layout::plain);
    require_plain(decided, decided.outputs[0], {n, k}, "dx");
    return op_from(decided, 0, [=, threads = context.threads](void* const* in, void* const* out, void*) {
        run_product(threads, {.a = floats(in[0]),
                              .a_i = o,
                              .a_r = 1,
                              .b = floats(in[1]),
                              .out = floats_out(out[0]),
                              .count = n,
                              .sums = o,
                              .columns = k});
    });
}

BuiltOp make_linear_backward_weights(const OpDesc& desc, const Context& context) {
    require_operands(desc, 2, desc.bias ? 2 : 1);
    const std::int64_t n = desc.inputs[0][0], o = desc.inputs[0][1], k = desc.inputs[1][1];
    require_plain(desc, desc.inputs[0], {n, o}, "dy");
    require_plain(desc, desc.inputs[1], {n, k}, "x");
    OpDesc decided = desc;
    for (std::size_t i = 0; i < decided.outputs.size(); ++i) adopt_layout(decided, i, Layout::plain);
    require_plain(decided, decided.outputs[0], {o, k}, "dw");
    if (desc.bias) require_plain(decided, decided.outputs[1], {o}, "db");
    return op_from(
        decided, 0,
        [=, bias = desc.bias, threads = context.threads](void* const* in, void* const* out, void*) {
            const float* dy = floats(in[0]);
            run_product(threads, {.a = dy,
                                  .a_i = 1,
                                  .a_r = o,
                                  .b = floats(in[1]),
                                  .out = floats_out(out[0]),
                                  .count = o,
                                  .sums = n,
                                  .columns = k});
            if (!bias) return;
            float* db = floats_out(out[1]);
            for (std::int64_t c = 0; c < o; ++c) {
                float sum = 0;
                for (std::int64_t i = 0; i < n; ++i) sum += dy[i * o + c];
                db[c] = sum;
            }
        });
}

}  // namespace onecycle::cpu
