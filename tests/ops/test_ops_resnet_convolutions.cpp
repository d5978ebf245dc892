// What the back end promises for the convolutions of the networks it is made for.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "ops/ops.h"
#include "ops/resnet_convolutions.h"
#include "rules/rng.h"

namespace onecycle::testing {

namespace {

TensorDesc with(TensorDesc t, Layout layout) {
    t.layout = layout;
    return t;
}

// The three passes of a convolution as a program would make them; no gradient for images.
std::vector<OpDesc> passes(const Backend& backend, const ConvolutionShape& s, std::int64_t images) {
    const std::int64_t out = (s.size + 2 * s.padding() - s.kernel) / s.stride + 1;
    const Layout blocked =
        backend.parameter_layout({64, 64, 3, 3}) == Layout::OIhw16i16o ? Layout::nChw16c : Layout::nChw8c;
    const TensorDesc plain{s.out, s.in, s.kernel, s.kernel};
    const TensorDesc w = with(plain, backend.parameter_layout(plain));
    const TensorDesc x = with({images, s.in, s.size, s.size}, s.in == 3 ? Layout::plain : blocked);
    const TensorDesc y{images, s.out, out, out};
    OpDesc d{.kind = OpKind::conv2d, .kernel = s.kernel, .stride = s.stride, .padding = s.padding()};
    d.inputs = {x, w};
    d.outputs = {with(y, Layout::any)};
    std::vector<OpDesc> all = {d};
    if (s.in != 3) {
        d.kind = OpKind::conv2d_backward_data;
        d.inputs = {with(y, blocked), w};
        d.outputs = {x};
        all.push_back(d);
    }
    d.kind = OpKind::conv2d_backward_weights;
    d.inputs = {with(y, blocked), x};
    d.outputs = {w};
    all.push_back(d);
    return all;
}

std::string describe(const OpDesc& d, int size) {
    return std::string(name_of(d.kind)) + " " + to_string(d.inputs[0]) + " " + to_string(d.inputs[1]) +
           " at " + std::to_string(size);
}

class ResNetConvolutions : public ::testing::TestWithParam<bool> {};

TEST_P(ResNetConvolutions, never_copy_activations_between_layouts) {
    const auto backend = make_cpu_backend(2);
    for (int size : {32, 64, 128, 224})
        for (const ConvolutionShape& shape : resnet_convolutions(size, GetParam()))
            for (const OpDesc& desc : passes(*backend, shape, 8)) {
                const BuiltOp made = backend->make(desc);
                EXPECT_EQ(made.reorders, 0) << describe(desc, size);
                for (const char* slow : {"gemm", "ref"})
                    EXPECT_EQ(made.implementation.find(slow), std::string::npos)
                        << describe(desc, size) << ": " << made.implementation;
            }
}

// oneDNN's own weight gradients would fail here at many of these shapes.
TEST_P(ResNetConvolutions, give_equal_bits_for_1_2_4_and_8_threads) {
    const auto device = make_cpu_device(0);
    Stream stream(*device);
    std::vector<std::unique_ptr<Backend>> backends;
    for (int threads : {1, 2, 4, 8}) backends.push_back(make_cpu_backend(threads));
    // Few images at large sizes keep this short; the split of sums depends on both.
    const struct { int size, images; } runs[] = {{32, 16}, {64, 8}, {224, 2}};
    for (const auto& [size, images] : runs)
        for (const ConvolutionShape& shape : resnet_convolutions(size, GetParam()))
            for (const OpDesc& desc : passes(*backends[0], shape, images)) {
                std::vector<std::vector<float>> in;
                for (const TensorDesc& t : desc.inputs) {
                    RandomStream random(3, RandomPurpose::demo_data, 0, in.size());
                    in.emplace_back(static_cast<std::size_t>(t.elements()));
                    for (float& v : in.back()) v = static_cast<float>(random.uniform(-1, 1));
                }
                void* const inputs[] = {in[0].data(), in[1].data()};
                std::vector<float> one;
                for (const auto& backend : backends) {
                    BuiltOp made = backend->make(desc);
                    std::vector<float> out(static_cast<std::size_t>(made.desc.outputs[0].elements()));
                    DeviceMemory workspace(*device, made.workspace + 64);
                    void* const outputs[] = {out.data()};
                    made.op->run(inputs, outputs, workspace.data(), stream);
                    if (one.empty()) one = out;
                    EXPECT_EQ(std::memcmp(one.data(), out.data(), out.size() * sizeof(float)), 0)
                        << describe(desc, size) << ": " << made.implementation;
                }
            }
}

INSTANTIATE_TEST_SUITE_P(Networks, ResNetConvolutions, ::testing::Values(false, true),
                         [](const auto& param) { return param.param ? "ResNet50" : "ResNet34"; });

}  // namespace

}  // namespace onecycle::testing
