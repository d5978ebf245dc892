// Asks cuDNN itself, without a GPU, for the plans of every convolution of the networks, for the
// device text of an H200. ONECYCLE_WRITE_CUDNN_PLANS=FILE writes what it answers as a table.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "onecycle/error.h"
#include "ops/cuda/cudnn.h"
#include "ops/h200_device_text.h"
#include "ops/resnet_convolutions.h"

namespace onecycle::testing {

namespace {

struct Precision {
    const char* name;
    DType type;
    bool tf32;
};
constexpr Precision precisions[] = {{"bf16", DType::bf16, false},
                                    {"f16", DType::f16, false},
                                    {"f32", DType::f32, false},
                                    {"tf32", DType::f32, true}};

// Every convolution of ResNet18, 34 and 50 in every pass that a step has, as the back end runs it:
// 16-bit stems have eight channels, the stem's input has no gradient, and residual gradients are
// added (beta) where a block begins, by its first convolution.
std::vector<ConvolutionProblem> problems() {
    std::vector<ConvolutionProblem> found;
    std::set<std::string> seen;
    const auto add = [&](const ConvolutionProblem& p) {
        if (seen.insert(to_string(p)).second) found.push_back(p);
    };
    for (const std::int64_t image : {224, 128, 64})
        for (const std::int64_t n : {256, 64})
            for (const bool bottleneck : {false, true})
                for (const DType type : {DType::bf16, DType::f16, DType::f32})
                    for (const ConvolutionShape& s : resnet_convolutions(image, bottleneck)) {
                        const bool stem = s.in == 3;
                        ConvolutionProblem p{.type = type,
                                             .output_type = type,
                                             .n = n,
                                             .h = s.size,
                                             .w = s.size,
                                             .c = stem && type != DType::f32 ? 8 : s.in,
                                             .o = s.out,
                                             .kernel = s.kernel,
                                             .stride = s.stride,
                                             .padding = s.padding()};
                        add(p);
                        p.pass = Pass::backward_weights;
                        add(p);
                        if (stem) continue;
                        p.pass = Pass::backward_data;
                        for (const bool accumulate : {false, true}) {
                            p.accumulate = accumulate;
                            add(p);
                        }
                    }
    return found;
}

struct Row {
    std::size_t candidates = 0, usable = 0, smallest = SIZE_MAX, first_workspace = 0;
    std::string first;
};

// Plans that finalise under the cap and are deterministic.
Row ask(const cudnn::Target& target, const ConvolutionProblem& problem, bool tf32) {
    const cudnn::Finder finder(target, problem);
    Row row;
    for (const cudnn::Candidate& candidate : finder.candidates()) {
        ++row.candidates;
        if (!cudnn::allowed(candidate, problem.type, true, tf32)) continue;
        const auto plan = finder.plan(candidate.choice);
        if (!plan || plan->workspace() > cudnn::workspace_cap) continue;
        if (row.usable++ == 0) {
            row.first = cudnn::to_string(candidate.choice);
            row.first_workspace = plan->workspace();
        }
        row.smallest = std::min(row.smallest, plan->workspace());
    }
    return row;
}

TEST(CudnnPlans, every_convolution_of_the_networks_has_a_deterministic_plan_under_the_cap) {
    std::optional<cudnn::Library> library;
    try {
        library.emplace();
    } catch (const Error& error) {
        GTEST_SKIP() << error.what();
    }
    const cudnn::Target target(*library, h200_device_text);
    std::ostringstream table;
    table << "# cuDNN " << library->version()
          << " for an H200 described by text: deterministic plans that finalise with at most "
          << cudnn::workspace_cap / (1 << 20) << " MB of workspace, without a GPU\n"
          << "convolution,precision,candidates,usable,first_usable,its_workspace,smallest_workspace\n";
    for (const ConvolutionProblem& problem : problems())
        for (const Precision& precision : precisions) {
            if (precision.type != problem.type) continue;
            const Row row = ask(target, problem, precision.tf32);
            EXPECT_GT(row.usable, 0u) << to_string(problem) << " " << precision.name;
            table << fmt::format("{},{},{},{},{},{},{}\n", to_string(problem), precision.name, row.candidates,
                                 row.usable, row.first, row.first_workspace,
                                 row.usable ? std::to_string(row.smallest) : "");
        }
    // How many candidates there are, and in which order, depends on the parts of cuDNN that can be
    // loaded where this runs (the heuristics may want a driver's library); so the table is kept to
    // read, not to compare.
    if (const char* to = std::getenv("ONECYCLE_WRITE_CUDNN_PLANS")) std::ofstream(to) << table.str();
}

// Engines come with knobs: tiles, clusters, splits. Without them all candidates of an engine are
// one.
TEST(CudnnPlans, an_engine_is_offered_with_many_settings_of_its_knobs) {
    std::optional<cudnn::Library> library;
    try {
        library.emplace();
    } catch (const Error& error) {
        GTEST_SKIP() << error.what();
    }
    const cudnn::Target target(*library, h200_device_text);
    for (const Pass pass : {Pass::forward, Pass::backward_data, Pass::backward_weights}) {
        const ConvolutionProblem problem{.pass = pass,
                                         .type = DType::bf16,
                                         .output_type = DType::bf16,
                                         .n = 256,
                                         .h = 56,
                                         .w = 56,
                                         .c = 64,
                                         .o = 64,
                                         .kernel = 3,
                                         .padding = 1};
        const auto candidates = cudnn::Finder(target, problem).candidates();
        EXPECT_GE(candidates.size(), 20u) << to_string(problem);
        std::map<std::int64_t, int> of_engine;
        bool knobs = false;
        for (const cudnn::Candidate& candidate : candidates) {
            ++of_engine[candidate.choice.engine];
            knobs = knobs || !candidate.choice.knobs.empty();
        }
        EXPECT_TRUE(knobs) << to_string(problem);
        EXPECT_GT(std::ranges::max_element(of_engine, {}, [](const auto& e) { return e.second; })->second, 5)
            << to_string(problem);
    }
}

// As of cuBLAS: a sum that is rounded to 16 bits on its way is not what the documents promise.
TEST(CudnnPlans, that_add_16_bit_products_up_in_16_bits_are_not_used) {
    std::optional<cudnn::Library> library;
    try {
        library.emplace();
    } catch (const Error& error) {
        GTEST_SKIP() << error.what();
    }
    const cudnn::Target target(*library, h200_device_text);
    for (const DType type : {DType::bf16, DType::f16}) {
        const ConvolutionProblem problem{.pass = Pass::backward_weights,
                                         .type = type,
                                         .output_type = type,
                                         .n = 64,
                                         .h = 14,
                                         .w = 14,
                                         .c = 256,
                                         .o = 256,
                                         .kernel = 3,
                                         .padding = 1};
        int found = 0, used = 0;
        for (const cudnn::Candidate& candidate : cudnn::Finder(target, problem).candidates())
            if (candidate.rounds_sums) {
                ++found;
                used += cudnn::allowed(candidate, type, false, true);
            }
        EXPECT_GT(found, 0) << "cuDNN has such engines: " << name_of(type);
        EXPECT_EQ(used, 0) << name_of(type);
    }
}

TEST(CudnnPlans, a_choice_of_engine_is_kept_as_text_and_made_again) {
    const cudnn::EngineChoice choice{32, {{2, 3}, {13, -1}}};
    EXPECT_EQ(cudnn::to_string(choice), "engine 32: 2=3 13=-1");
    EXPECT_EQ(cudnn::engine_choice(cudnn::to_string(choice)), choice);
    EXPECT_EQ(cudnn::engine_choice("engine 7:"), (cudnn::EngineChoice{7, {}}));
    for (const char* wrong :
         {"", "engine", "engine x:", "engine 3: 2", "engine 3: 2=", "engine 3: a=1", "none 3:"})
        EXPECT_FALSE(cudnn::engine_choice(wrong)) << wrong;
}

}  // namespace

}  // namespace onecycle::testing
