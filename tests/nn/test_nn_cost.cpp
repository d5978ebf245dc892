// Bytes and operations of a step, counted by hand: the profile and its predictions rest on them.
#include <gtest/gtest.h>

#include "nn/cost.h"
#include "nn/network_of.h"
#include "nn/program.h"

namespace onecycle {
namespace {

// ResNet34 at 224 pixels, batch 256, in bf16: the CUDA back end's program. It is compiled, not run.
const Program& program() {
    static const Program compiled = [] {
        const auto backend = make_emulated_backend();
        const Network network = network_of({.arch = "resnet34", .classes = 1000, .size = 224});
        ProgramKey key;
        key.batch = 256;
        return compile(network, StateLayout(network, *backend, false, DType::bf16), *backend, key);
    }();
    return compiled;
}

const ProgramOp& step(const std::string& name) {
    for (const ProgramOp& s : program().ops)
        if (s.name == name) return s;
    throw std::runtime_error("no step " + name);
}

// Megabytes of an activation of 256 images.
constexpr double activation(double channels, double size) {
    return 256 * channels * size * size * 2 / 1e6;
}
constexpr double tolerance = 0.01;  // megabytes: vectors of channels

TEST(Cost, a_convolution_moves_input_weights_and_output_once) {
    const double weights = 64 * 64 * 9 * 2 / 1e6;
    EXPECT_NEAR(step("layer1.0.conv1").bytes / 1e6, 2 * activation(64, 56) + weights, tolerance);
    EXPECT_NEAR(step("layer1.0.conv1").flops / 1e9, 2.0 * 256 * 56 * 56 * 64 * 64 * 9 / 1e9, 1e-6);
    // Three channels are stored as eight.
    EXPECT_NEAR(step("conv1").bytes / 1e6, activation(8, 224) + activation(64, 112) + 64 * 8 * 49 * 2 / 1e6,
                tolerance);
    // The second gradient of a block's input is added to the first, which is read.
    EXPECT_NEAR(step("layer1.0.conv1 dx").bytes / 1e6, 3 * activation(64, 56) + weights, tolerance);
}

TEST(Cost, a_1x1_window_of_stride_2_reads_a_quarter_of_its_input) {
    EXPECT_NEAR(step("layer2.0.downsample.0").bytes / 1e6,
                activation(64, 56) / 4 + activation(128, 28) + 64 * 128 * 2 / 1e6, tolerance);
}

TEST(Cost, batch_norm_reads_a_large_tensor_twice_and_one_that_fits_in_the_cache_once) {
    EXPECT_NEAR(step("layer1.0.bn1+relu").bytes / 1e6, 3 * activation(64, 56), tolerance);
    EXPECT_NEAR(step("layer1.0.bn2+add+relu").bytes / 1e6, 4 * activation(64, 56), tolerance);
    EXPECT_NEAR(step("layer4.1.bn1+relu").bytes / 1e6, 2 * activation(512, 7), tolerance);
}

// The counts that stand in kernels/batch_norm_backward.cu and batch_norm_max_pool.cu.
TEST(Cost, batch_norm_backward_moves_what_its_kernels_say) {
    EXPECT_NEAR(step("layer1.0.bn1+relu dx").bytes / 1e6, 5 * activation(64, 56), tolerance);
    EXPECT_NEAR(step("layer1.0.bn2+add+relu dx").bytes / 1e6, 7 * activation(64, 56), tolerance);
    EXPECT_NEAR(step("layer2.0.bn2+layer2.0.downsample.1+relu dx").bytes / 1e6, 10 * activation(128, 28),
                tolerance);
    // x twice, y and its index once; back: x, dy and the index twice, dx once.
    const double pooled = activation(64, 56);
    EXPECT_NEAR(step("bn1+relu+maxpool").bytes / 1e6, 2 * activation(64, 112) + 1.5 * pooled, tolerance);
    EXPECT_NEAR(step("bn1+relu+maxpool dx").bytes / 1e6, 3 * activation(64, 112) + 3 * pooled, tolerance);
}

// SGD reads and writes weight and momentum in f32: 16 bytes. Convolutions bring a 16-bit gradient
// (2) and the classifier an f32 one (4); both keep a 16-bit copy (2). Batch norms and biases have
// neither.
TEST(Cost, the_update_moves_what_each_parameter_needs) {
    const double all = 21797672, classifier = 512 * 1000, vectors = 2 * 8512 + 1000;
    const double convolutions =
        all - classifier - vectors + 64 * 5 * 49;  // the stem is stored with 8 channels
    EXPECT_NEAR(step("update_parameters").bytes / 1e6,
                (convolutions * 20 + classifier * 22 + vectors * 20) / 1e6, tolerance);
    EXPECT_NEAR(step("check_gradients").bytes / 1e6, (convolutions * 2 + (classifier + vectors) * 4) / 1e6,
                tolerance);
}

// LARS reads gradients and weights of what decays once more, LAMB the two moments as well. Both
// leave batch norms and biases alone.
TEST(Cost, trust_ratios_read_what_they_measure_of_the_weights_alone) {
    OpDesc desc{.kind = OpKind::trust_ratio};
    desc.parameters = {{.offset = 0, .elements = 1000, .half_gradient = true},
                       {.offset = 1024, .elements = 100, .decay_multiplier = 0},
                       {.offset = 1152, .elements = 300, .frozen = true},
                       {.offset = 1536, .elements = 50}};
    const TensorDesc flat{2048};
    desc.optimizer.kind = OptimizerKind::lars;
    desc.inputs.assign(5, flat);
    desc.outputs = {{4}};
    EXPECT_EQ(bytes_of(desc, false), 1000 * (2 + 4) + 50 * (4 + 4));
    desc.optimizer.kind = OptimizerKind::lamb;
    desc.inputs.assign(7, flat);
    EXPECT_EQ(bytes_of(desc, false), 1000 * (2 + 12) + 50 * (4 + 12));
}

// An independent count of the same fusions (reads and writes of each kernel, summed over
// torchvision's graph) came to 27.0 GB with a stem of 4 channels and 16-bit gradients, and to 5.567
// TFLOP in convolutions and classifier.
TEST(Cost, the_whole_step_is_near_an_independent_count) {
    EXPECT_NEAR(program().bytes() / 1e9, 27.0, 1.1);
    double products = 0;
    for (const ProgramOp& s : program().ops)
        if (s.name.find("bn") == std::string::npos && s.flops > 1e8 && s.phase != Phase::update)
            products += s.flops;
    EXPECT_NEAR(products / 1e12, 5.567, 0.001);
}

// With 4 ranks, of 4 bytes an element: 3/4 are sent, received, and twice as the gather does; a quarter
// is copied, and written as the mean; everyone's parts are read. 16-bit gradients are widened first. In
// two levels of 8 and 2 likewise at each, of all and then of an eighth.
TEST(Cost, an_all_reduce_sends_all_but_its_share_twice_and_reads_every_part) {
    const auto backend = make_emulated_backend();
    const Network network = network_of({.arch = "resnet18", .classes = 10, .size = 32});
    const double one = 4 * 0.75 + 2 * 0.25 + 1 + 0.25, of_8 = 4 * 7.0 / 8 + 2 / 8.0 + 1 + 1 / 8.0,
                 of_2 = 4 * 0.5 + 2 * 0.5 + 1 + 0.5;
    ProgramKey key;
    for (const auto& [ranks, an_element] : {std::pair{4, one}, std::pair{16, of_8 + of_2 / 8}}) {
        key.ranks = ranks;
        key.two_levels = ranks == 16;
        const Program shared =
            compile(network, StateLayout(network, *backend, false, DType::bf16), *backend, key);
        int found = 0;
        for (const ProgramOp& op : shared.ops) {
            if (op.desc.kind != OpKind::all_reduce) continue;
            double halves = 0;
            for (const ParameterSegment& s : op.desc.parameters)
                if (s.half_gradient) halves += static_cast<double>(s.elements);
            const auto elements = static_cast<double>(op.desc.outputs[0].elements());
            EXPECT_NEAR(op.bytes, 4 * elements * an_element + 6 * halves, 1) << op.name << ", " << ranks;
            ++found;
        }
        EXPECT_GE(found, 3) << "buckets and statistics";
    }
}

}  // namespace
}  // namespace onecycle
