// Max pooling and global average pooling on the emulator.

#include "cuda/batch_norm.h"
#include "onecycle/error.h"
#include "ops/max_pool_values.h"
#include "rules/rng.h"

namespace onecycle::testing {

namespace {

Values integers(const TensorDesc& t, std::uint32_t seed) {
    RandomStream random(42, RandomPurpose::demo_data, seed, 0);
    Values values(static_cast<std::size_t>(t.elements()));
    for (double& v : values) v = static_cast<double>(random.below(7)) - 3;
    return values;
}

// Small integers in any type are exact, and have many equal maxima.
TEST(CudaPool, of_maxima_is_exact_on_integers_forward_and_backward) {
    const Machine machine = emulated_machine();
    const struct {
        TensorDesc x;
        int kernel, stride, padding;
    } cases[] = {{{3, 16, 7, 11}, 3, 2, 1},  {{1, 5, 8, 5}, 2, 2, 0},   {{7, 24, 5, 6}, 3, 1, 1},
                 {{2, 32, 13, 12}, 3, 2, 1}, {{1, 7, 11, 13}, 5, 2, 2}, {{1, 72, 5, 5}, 4, 3, 2},
                 {{1, 8, 37, 41}, 3, 2, 1},  {{2, 3, 1, 1}, 3, 2, 1},   {{1, 16, 9, 7}, 2, 3, 0}};
    for (DType type : float_types)
        for (const auto& c : cases) {
            const TensorDesc x = activation(c.x, type);
            TensorDesc y = x;
            for (std::size_t i : {2, 3}) y.dims[i] = (x.dims[i] + 2 * c.padding - c.kernel) / c.stride + 1;
            TensorDesc index = y;
            index.type = DType::u8;
            OpDesc d{.kind = OpKind::max_pool, .kernel = c.kernel, .stride = c.stride, .padding = c.padding};
            d.inputs = {x};
            d.outputs = {y, index};
            const Values values = integers(x, 1);
            expect_agrees(d, {values}, 0, machine);
            const Values places = reference(d, {values})[1];
            d.kind = OpKind::max_pool_backward;
            d.inputs = {y, index};
            d.outputs = {x};
            expect_agrees(d, {integers(y, 2), places}, 0, machine);
            d.second_gradient = true;
            d.inputs.push_back(y);
            expect_agrees(d, {integers(y, 2), places, integers(y, 3)}, 0, machine);
        }
}

TEST(CudaPool, takes_the_first_maximum_and_lets_nan_win) {
    for (DType type : float_types)
        for (const std::int64_t channels : {1, 8})
            expect_first_maximum_and_nan_win(activation({1, channels, 2, 10}, type),
                                             activation({1, channels, 1, 5}, type), emulated_machine());
}

TEST(CudaPool, of_averages_agrees_with_the_reference_and_is_exact_on_integers) {
    const Machine machine = emulated_machine();
    for (DType type : float_types)
        for (DType features : {type, DType::f32})
            for (const TensorDesc& shape : {TensorDesc{3, 16, 4, 4},
                                            {1, 20, 2, 8},
                                            {7, 40, 1, 1},
                                            {2, 5, 7, 9},
                                            {2, 72, 31, 29},
                                            {3, 64, 7, 7}}) {
                const TensorDesc x = activation(shape, type),
                                 y({shape[0], shape[1]}, Layout::plain, features);
                OpDesc d{.kind = OpKind::global_average_pool, .inputs = {x}, .outputs = {y}};
                expect_near(run_op(d, {random_values(x, 1)}, machine), reference(d, {random_values(x, 1)}));
                const bool exact = shape[2] * shape[3] <= 16 && type == DType::f32;
                if (exact) expect_agrees(d, {integers(x, 1)}, 0, machine);
                d = {.kind = OpKind::global_average_pool_backward, .inputs = {y}, .outputs = {x}};
                expect_near(run_op(d, {random_values(y, 2)}, machine), reference(d, {random_values(y, 2)}));
                if (exact) expect_agrees(d, {integers(y, 2)}, 0, machine);
            }
}

// Nothing is allocated to make an operation, so it can be asked for more than any GPU holds.
TEST(CudaPool, more_than_32_bits_count_is_refused) {
    const Machine machine = emulated_machine();
    const auto both_ways = [&](const OpDesc& forward, const OpDesc& backward, bool taken) {
        for (const OpDesc& desc : {forward, backward}) {
            SCOPED_TRACE(to_string(desc.inputs[0]));
            if (taken)
                EXPECT_NO_THROW(machine.backend->make(desc));
            else
                EXPECT_THROW(machine.backend->make(desc), Error);
        }
    };
    const struct {
        TensorDesc x;
        bool taken;
    } cases[] = {{{65535, 512, 8, 8}, true},     // 65,536 elements below 2^31
                 {{65536, 512, 8, 8}, false},    // 2^31
                 {{65536, 1024, 1, 1}, false}};  // its 7 x 7 features are more
    for (const auto& c : cases) {
        const TensorDesc x = activation(c.x, DType::bf16),
                         windows({x[0], x[1] * 49}, Layout::plain, DType::bf16);
        both_ways({.kind = OpKind::adaptive_average_pool, .inputs = {x}, .outputs = {windows}, .kernel = 7},
                  {.kind = OpKind::adaptive_average_pool_backward,
                   .inputs = {windows},
                   .outputs = {x},
                   .kernel = 7},
                  c.taken);
        if (x[2] == 1) continue;
        const TensorDesc pair({x[0], 2 * x[1]}, Layout::plain, DType::bf16),
            index({x[0], x[1]}, Layout::plain, DType::i32);
        both_ways({.kind = OpKind::concat_pool, .inputs = {x}, .outputs = {pair, index}},
                  {.kind = OpKind::concat_pool_backward, .inputs = {pair, index}, .outputs = {x}}, c.taken);
    }
}

}  // namespace

}  // namespace onecycle::testing
