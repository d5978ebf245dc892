// Equal bits for any number of threads, also far more than eight an image: every convolution of a
// training step of every built-in network. oneDNN's own choice fails here with AVX-512.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/training.h"
#include "rules/rng.h"

namespace onecycle {
namespace {

bool is_convolution(OpKind kind) {
    return kind == OpKind::conv2d || kind == OpKind::conv2d_backward_data ||
           kind == OpKind::conv2d_backward_weights;
}

std::string text_of(const OpDesc& desc) {
    std::string text = name_of(desc.kind);
    for (const auto* list : {&desc.inputs, &desc.outputs})
        for (const TensorDesc& t : *list) text += " " + to_string(t);
    return text + " stride " + std::to_string(desc.stride);
}

// The convolutions of a training step of every built-in network, without repetitions.
std::map<std::string, OpDesc> convolutions(int size, int batch) {
    const auto backend = make_cpu_backend(1);
    std::map<std::string, OpDesc> all;
    for (const Architecture& built_in : architectures()) {
        const Network network =
            built_in.make({.classes = 10, .size = std::max(size, built_in.smallest(Stem::imagenet))});
        const Program program =
            compile(network, StateLayout(network, *backend, false), *backend, testing::training_key(batch));
        for (const ProgramOp& step : program.ops)
            if (is_convolution(step.desc.kind)) all.emplace(text_of(step.desc), step.desc);
    }
    return all;
}

class Convolution {
  public:
    explicit Convolution(const OpDesc& desc) : desc_(desc) {
        for (const TensorDesc& t : desc.inputs) {
            RandomStream random(3, RandomPurpose::demo_data, 0, in_.size());
            std::vector<float>& values = in_.emplace_back(static_cast<std::size_t>(t.stored_elements()));
            for (float& value : values) value = static_cast<float>(random.uniform(-1, 1));
        }
    }

    std::vector<float> run(const Backend& backend, std::string& implementation) {
        BuiltOp made = backend.make(desc_);
        implementation = made.implementation;
        std::vector<float> out(static_cast<std::size_t>(made.desc.outputs[0].stored_elements()));
        DeviceMemory workspace(*device_, made.workspace + 64);
        std::vector<void*> inputs;
        for (std::vector<float>& values : in_) inputs.push_back(values.data());
        if (desc_.accumulate) std::copy(in_.back().begin(), in_.back().end(), out.begin());
        if (desc_.accumulate) inputs.back() = out.data();
        void* const outputs[] = {out.data()};
        made.op->run(inputs.data(), outputs, workspace.data(), stream_);
        return out;
    }

  private:
    OpDesc desc_;
    std::vector<std::vector<float>> in_;
    std::unique_ptr<Device> device_ = make_cpu_device(0);
    Stream stream_{*device_};
};

void expect_equal_bits(int size, int batch, const std::vector<int>& threads) {
    std::vector<std::unique_ptr<Backend>> backends;
    for (const int count : threads) backends.push_back(make_cpu_backend(count));
    const auto one = make_cpu_backend(1);
    for (const auto& [text, desc] : convolutions(size, batch)) {
        Convolution convolution(desc);
        std::string implementation;
        const std::vector<float> expected = convolution.run(*one, implementation);
        for (std::size_t i = 0; i < threads.size(); ++i) {
            const std::vector<float> got = convolution.run(*backends[i], implementation);
            EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0)
                << text << ": " << implementation << ", " << threads[i] << " threads";
        }
    }
}

TEST(ThreadCounts, convolutions_of_all_built_in_networks_give_equal_bits_for_up_to_128_threads) {
    expect_equal_bits(32, 2, {17, 33, 128});
    expect_equal_bits(32, 4, {33, 128});
    expect_equal_bits(32, 8, {65});
    expect_equal_bits(64, 2, {17, 128});
}

}  // namespace
}  // namespace onecycle
