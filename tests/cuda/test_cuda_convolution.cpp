#include <omp.h>

#include "cuda/cuda.h"
#include "device/emulated/block.h"
#include "onecycle/error.h"
#include "ops/cuda/convolution.h"

namespace onecycle::testing {

namespace {

struct Window {
    std::int64_t n, i, h, w, o;
    int kernel, stride, padding;
};

// Tails of every block size, borders on all sides, kernels larger than the image, strides that skip
// pixels.
constexpr Window windows[] = {
    {1, 3, 7, 11, 16, 7, 2, 3},   {3, 3, 13, 5, 24, 7, 2, 3},  {3, 16, 5, 7, 32, 3, 1, 1},
    {7, 16, 11, 13, 17, 3, 2, 1}, {3, 32, 5, 5, 48, 1, 2, 0},  {7, 64, 1, 1, 64, 1, 1, 0},
    {1, 5, 7, 5, 6, 3, 1, 1},     {2, 3, 8, 9, 7, 3, 2, 1},    {1, 264, 3, 2, 40, 3, 1, 1},
    {13, 8, 2, 2, 8, 3, 1, 1},    {9, 48, 1, 3, 100, 3, 1, 1}, {3, 24, 9, 8, 20, 5, 3, 2},
    {1, 4, 5, 5, 3, 2, 3, 0},     {17, 8, 4, 4, 130, 1, 1, 0},
};

constexpr OpKind passes[] = {OpKind::conv2d, OpKind::conv2d_backward_data, OpKind::conv2d_backward_weights};

OpDesc convolution(OpKind kind, const Window& c, DType type, bool padded = false) {
    const auto side = [&](std::int64_t size) { return (size + 2 * c.padding - c.kernel) / c.stride + 1; };
    const TensorDesc x({c.n, c.i, c.h, c.w}, padded ? Layout::nhwc8c : Layout::nhwc, type);
    const TensorDesc w({c.o, c.i, c.kernel, c.kernel}, padded ? Layout::ohwi8i : Layout::ohwi, type);
    const TensorDesc y({c.n, c.o, side(c.h), side(c.w)}, Layout::nhwc, type);
    OpDesc d{.kind = kind, .kernel = c.kernel, .stride = c.stride, .padding = c.padding};
    if (kind == OpKind::conv2d) {
        d.inputs = {x, w};
        d.outputs = {y};
    } else if (kind == OpKind::conv2d_backward_data) {
        d.inputs = {y, w};
        d.outputs = {x};
    } else {
        d.inputs = {y, x};
        d.outputs = {w};
    }
    return d;
}

std::vector<Values> random_inputs(const OpDesc& desc) {
    std::vector<Values> inputs;
    for (const TensorDesc& t : desc.inputs) inputs.push_back(random_values(t, inputs.size() + 1));
    return inputs;
}

std::vector<Values> integer_inputs(const OpDesc& desc) {
    std::vector<Values> inputs = random_inputs(desc);
    for (Values& values : inputs)
        for (double& v : values) v = std::round(2 * v);
    return inputs;
}

TEST(CudaConvolution, agrees_with_the_reference_in_every_pass_and_type) {
    const Machine machine = emulated_machine();
    for (const Window& window : windows)
        for (OpKind kind : passes)
            for (DType type : float_types) {
                const OpDesc desc = convolution(kind, window, type);
                SCOPED_TRACE(to_string(desc.inputs[0]) + " " + to_string(desc.inputs[1]));
                // f32 sums of up to a few thousand products: some tens of roundings.
                expect_agrees(desc, random_inputs(desc), type == DType::f32 ? 40 : 1.01, machine);
            }
}

TEST(CudaConvolution, pads_the_stems_channels_and_gives_padding_no_gradient) {
    const Machine machine = emulated_machine();
    for (OpKind kind : passes)
        for (DType type : {DType::bf16, DType::f16}) {
            const OpDesc desc = convolution(kind, windows[1], type, true);
            expect_agrees(desc, random_inputs(desc), 1.01, machine);
        }
}

TEST(CudaConvolution, is_exact_with_small_integers) {
    const Machine machine = emulated_machine();
    for (const Window& window : windows)
        for (OpKind kind : passes) {
            const OpDesc desc = convolution(kind, window, DType::f32);
            expect_agrees(desc, integer_inputs(desc), 0, machine);
        }
}

TEST(CudaConvolution, rounds_a_16_bit_output_once_to_the_nearest) {
    const Machine machine = emulated_machine();
    for (OpKind kind : passes)
        for (DType type : {DType::bf16, DType::f16}) {
            const OpDesc desc = convolution(kind, {3, 40, 9, 9, 40, 3, 1, 1}, type);
            const std::vector<Values> inputs = integer_inputs(desc);
            // The sums are integers that f32 holds: the only rounding is that of the output.
            EXPECT_EQ(run_op(desc, inputs, machine).outputs[0], stored_as(type, reference(desc, inputs)[0]));
        }
}

TEST(CudaConvolution, gives_the_same_bits_with_any_number_of_threads) {
    for (OpKind kind : passes)
        for (const Window& window :
             {Window{5, 24, 17, 13, 40, 3, 2, 1}, Window{2, 130, 3, 3, 200, 1, 1, 0}}) {
            const OpDesc desc = convolution(kind, window, DType::f32);
            const int before = omp_get_max_threads();
            std::vector<Values> results;
            for (int threads : {1, 2, 3, 7}) {
                omp_set_num_threads(threads);
                results.push_back(run_op(desc, random_inputs(desc), emulated_machine()).outputs[0]);
                EXPECT_EQ(results.back(), results.front()) << threads << " threads";
            }
            omp_set_num_threads(before);
        }
}

// Runs work on buffers of the device; the output begins as `out`.
Values run_planned(const emulated::PlannedProduct& planned, const OpDesc& desc,
                   const std::vector<Values>& inputs, const Values& out, Device& device) {
    std::vector<DeviceMemory> memory;
    const auto put = [&](const TensorDesc& t, const Values& values) {
        std::vector<std::byte> bytes(t.bytes());
        store_values(t, values, bytes.data());
        memory.emplace_back(device, t.bytes());
        device.copy_in(memory.back().data(), bytes.data(), bytes.size());
        return memory.back().data();
    };
    const void *first = put(desc.inputs[0], inputs[0]), *second = put(desc.inputs[1], inputs[1]);
    const TensorDesc& output = desc.outputs[0];
    std::byte* const to = put(output, out);
    memory.emplace_back(device, planned.workspace + 64);
    void* const workspace = memory.back().data();
    device
        .prepare(
            {{.run = [&](Stream& s) { planned.run(first, second, to, workspace, emulated::handle(s)); }}})
        ->launch();
    device.synchronize();
    std::vector<std::byte> bytes(output.bytes());
    device.copy_out(bytes.data(), to, bytes.size());
    return load_values(output, bytes.data());
}

TEST(CudaConvolution, adds_the_gradient_that_is_there_and_rounds_once) {
    const auto device = make_emulated_device();
    for (const Window& window : windows)
        for (DType type : float_types) {
            OpDesc desc = convolution(OpKind::conv2d_backward_data, window, type);
            std::vector<Values> inputs = integer_inputs(desc);
            const Values there = random_values(desc.outputs[0], 9);
            desc.accumulate = true;
            desc.inputs.push_back(desc.outputs[0]);
            inputs.push_back(there);
            const Values expected = stored_as(type, reference(desc, inputs)[0]);
            const ConvolutionProblem problem = convolution_problem(desc);
            for (const auto& planned :
                 {emulated::plan_convolution(problem, {}), emulated::plan_direct_convolution(problem)}) {
                const Values got = run_planned(planned, desc, inputs, there, *device);
                for (std::size_t i = 0; i < got.size(); ++i)
                    ASSERT_NEAR(got[i], expected[i], type == DType::f32 ? 1e-5 : 0)
                        << planned.implementation << " " << to_string(problem);
            }
        }
}

TEST(CudaConvolution, the_direct_kernel_agrees_too_whatever_the_order_of_blocks) {
    const auto device = make_emulated_device();
    for (const Window& window : windows)
        for (OpKind kind : passes)
            for (DType type : float_types) {
                OpDesc desc = convolution(kind, window, type);
                const std::vector<Values> inputs = integer_inputs(desc);
                const ConvolutionProblem problem = convolution_problem(desc);
                const emulated::PlannedProduct planned = emulated::plan_direct_convolution(problem);
                const Values nothing(static_cast<std::size_t>(desc.outputs[0].elements()));
                const Values expected = stored_as(type, reference(desc, inputs)[0]);
                for (std::uint64_t seed : {1, 2}) {
                    emulated::set_schedule_seed(seed);
                    EXPECT_EQ(run_planned(planned, desc, inputs, nothing, *device), expected)
                        << to_string(problem);
                }
            }
}

// A block of the weights' gradient that goes on to further ones uses its shared memory again.
TEST(CudaConvolution, the_direct_kernel_agrees_with_more_channels_than_blocks) {
    const auto device = make_emulated_device();
    OpDesc desc = convolution(OpKind::conv2d_backward_weights, Window{1, 1, 1, 1, 8200, 1, 1, 0}, DType::f32);
    const std::vector<Values> inputs = integer_inputs(desc);
    const Values nothing(static_cast<std::size_t>(desc.outputs[0].elements()));
    const auto planned = emulated::plan_direct_convolution(convolution_problem(desc));
    EXPECT_EQ(run_planned(planned, desc, inputs, nothing, *device), reference(desc, inputs)[0]);
}

TEST(CudaConvolution, a_layout_or_shape_that_does_not_fit_is_refused) {
    const auto backend = make_emulated_backend();
    OpDesc desc = convolution(OpKind::conv2d, windows[2], DType::bf16);
    desc.inputs[0].layout = Layout::nhwc8c;  // its weights are not padded
    EXPECT_THROW(backend->make(desc), Error);
    desc = convolution(OpKind::conv2d, windows[2], DType::bf16);
    desc.inputs[1].type = DType::f32;
    EXPECT_THROW(backend->make(desc), Error);
    desc = convolution(OpKind::conv2d, windows[2], DType::bf16);
    desc.outputs[0].dims[2] += 1;
    EXPECT_THROW(backend->make(desc), Error);
}

}  // namespace

}  // namespace onecycle::testing
