// What cuDNN 9.19 offers on an H200 beside plain convolutions, asked without a GPU. Decisions rest
// on it: in fp16 a convolution can carry the batch norms around it in kernels made for Hopper, in
// bf16 it cannot. Engines that are compiled at run time load their kernel into a driver's stand-in,
// which tells its name.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <map>

#include "bench/cudnn_fusion_graphs.h"
#include "onecycle/error.h"
#include "ops/h200_device_text.h"

namespace onecycle::testing {

namespace {

using fusions::Kind;
using fusions::Shape;

constexpr Shape layer1{256, 64, 56, 64, 3, 1, 1, 1}, layer3{256, 256, 14, 256, 3, 1, 1, 1},
    halving{256, 64, 56, 128, 3, 2, 1, 1}, shortcut{256, 128, 28, 256, 1, 2, 0, 0};

class CudnnFusions : public ::testing::Test {
  protected:
    void SetUp() override {
        void* const driver = dlopen(ONECYCLE_DRIVER_STAND_IN, RTLD_NOW | RTLD_GLOBAL);
        ASSERT_TRUE(driver) << dlerror();
        loaded_kernels_ = reinterpret_cast<const char* (*)()>(dlsym(driver, "loaded_kernels"));
        forget_kernels_ = reinterpret_cast<void (*)()>(dlsym(driver, "forget_kernels"));
        std::optional<cudnn::Library> library;
        try {
            library.emplace();
        } catch (const Error& error) {
            GTEST_SKIP() << error.what();
        }
        if (library->version() != "9.19.0")
            GTEST_SKIP() << "the numbers are of cuDNN 9.19.0, here is " << library->version();
        target_.emplace(*library, h200_device_text);
    }

    cudnn::Finder finder(Kind kind, const Shape& shape, DType type) const {
        return {*target_, fusions::build(*target_, kind, shape, type).graph};
    }

    // Plans of engines that are part of cuDNN: how many of each engine.
    std::map<std::int64_t, int> plans(Kind kind, const Shape& shape, DType type) const {
        std::map<std::int64_t, int> of_engine;
        const cudnn::Finder found = finder(kind, shape, type);
        for (const cudnn::Candidate& candidate : found.candidates())
            if (!candidate.compiled_at_run_time && found.plan(candidate.choice))
                ++of_engine[candidate.choice.engine];
        return of_engine;
    }

    // The kernels of engines that are compiled here, by engine: of each the last that names its
    // tile, the smallest, which compiles fastest.
    std::map<std::int64_t, std::string> compiled(Kind kind, const Shape& shape, DType type) const {
        const cudnn::Finder found = finder(kind, shape, type);
        std::map<std::int64_t, cudnn::EngineChoice> choices;
        for (const cudnn::Candidate& candidate : found.candidates())
            if (candidate.compiled_at_run_time &&
                (!choices.contains(candidate.choice.engine) || !candidate.choice.knobs.empty()))
                choices[candidate.choice.engine] = candidate.choice;
        std::map<std::int64_t, std::string> kernels;
        for (const auto& [engine, choice] : choices) {
            forget_kernels_();
            if (found.plan(choice)) kernels[engine] = loaded_kernels_();
        }
        return kernels;
    }

    static bool contains(const std::string& text, const char* part) {
        return text.find(part) != std::string::npos;
    }

  private:
    std::optional<cudnn::Target> target_;
    const char* (*loaded_kernels_)() = nullptr;
    void (*forget_kernels_)() = nullptr;
};

using Plans = std::map<std::int64_t, int>;

TEST_F(CudnnFusions, in_fp16_convolutions_carry_the_norms_around_them_on_hopper) {
    for (const Shape& shape : {layer1, layer3, halving, shortcut}) {
        const bool stride1 = shape.stride == 1;
        EXPECT_EQ(plans(Kind::forward_sums, shape, DType::f16), (Plans{{2, 10}}));
        EXPECT_EQ(plans(Kind::norm_forward_sums, shape, DType::f16), (Plans{{2, 9}}));
        EXPECT_EQ(plans(Kind::data_gradient_norm, shape, DType::f16), (Plans{{1, 9}}));
        EXPECT_EQ(plans(Kind::data_gradient_add_norm, shape, DType::f16),
                  stride1 ? (Plans{{1, 2}}) : Plans{});
        EXPECT_EQ(plans(Kind::norm_weight_gradient, shape, DType::f16), (Plans{{2, 11}}));
    }
}

TEST_F(CudnnFusions, in_bf16_none_of_them_is_part_of_cudnn) {
    for (const Shape& shape : {layer1, layer3, halving, shortcut})
        for (const Kind kind :
             {Kind::forward_sums, Kind::forward_one_sum, Kind::norm_forward_sums, Kind::data_gradient_norm,
              Kind::data_gradient_add_norm, Kind::norm_weight_gradient})
            EXPECT_EQ(plans(kind, shape, DType::bf16), Plans{}) << fusions::name_of(kind);
}

TEST_F(CudnnFusions, plain_convolutions_have_hoppers_engines_but_the_stem_only_as_space_to_depth) {
    for (const DType type : {DType::bf16, DType::f16}) {
        EXPECT_GT(plans(Kind::forward, layer3, type)[62], 5);
        EXPECT_GT(plans(Kind::data_gradient, layer3, type)[67], 5);
        EXPECT_GT(plans(Kind::weight_gradient, layer3, type)[65], 5);
        EXPECT_EQ(plans(Kind::forward, fusions::stem(256), type)[62], 0);
        EXPECT_GT(plans(Kind::forward, fusions::stem_space_to_depth(256), type)[62], 5);
        EXPECT_EQ(plans(Kind::weight_gradient, fusions::stem(256), type)[65], 0);
        EXPECT_GT(plans(Kind::weight_gradient, fusions::stem_space_to_depth(256), type)[65], 0);
    }
}

// Both sums: for Ampere only. One sum: for Hopper, too.
TEST_F(CudnnFusions, compiled_at_run_time_bf16_has_one_sum_on_hopper_and_both_on_ampere) {
    const auto both = compiled(Kind::forward_sums, layer1, DType::bf16);
    ASSERT_EQ(both.size(), 1u);
    EXPECT_EQ(both.begin()->first, 3);
    EXPECT_TRUE(contains(both.at(3), "fort_native_sm80")) << both.at(3);
    const auto one = compiled(Kind::forward_one_sum, layer1, DType::bf16);
    ASSERT_EQ(one.size(), 2u);
    ASSERT_TRUE(one.contains(2) && one.contains(7));
    EXPECT_TRUE(contains(one.at(2), "xmma_sm90")) << one.at(2);
    EXPECT_TRUE(contains(one.at(7), "fort_native_sm80")) << one.at(7);
    EXPECT_TRUE(compiled(Kind::norm_forward_sums, layer1, DType::bf16).empty());
}

}  // namespace

}  // namespace onecycle::testing
