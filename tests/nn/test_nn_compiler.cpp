// The compiler's promises, on a back end whose operations do nothing.
#include <gtest/gtest.h>

#include <algorithm>

#include "nn/dependencies.h"
#include "nn/network_of.h"
#include "nn/program.h"

namespace onecycle {
namespace {

class NoOp final : public Op {
  public:
    void run(void* const*, void* const*, void*, Stream&) override {}
};

// Fuses what it is told to and asks for a workspace in every convolution.
class PaperBackend final : public Backend {
  public:
    explicit PaperBackend(bool fuses = true, bool branch = false) : fuses_(fuses), branch_(branch) {}
    bool can_fuse(Fusion) const override { return fuses_; }
    Layout parameter_layout(const TensorDesc&) const override { return Layout::plain; }
    bool asynchronous() const override { return false; }
    bool weight_gradient_branch() const override { return branch_; }
    BuiltOp make(const OpDesc& desc) const override {
        BuiltOp made{std::make_unique<NoOp>(), desc, 0, "paper", 0};
        if (desc.kind == OpKind::conv2d_backward_weights) made.workspace = 100000;
        for (TensorDesc& out : made.desc.outputs)
            if (out.layout == Layout::any) out.layout = Layout::nhwc;
        return made;
    }
    std::string instruction_set() const override { return "none"; }
    std::vector<std::pair<std::string, std::string>> libraries() const override { return {}; }

  private:
    bool fuses_, branch_;
};

Program compile_for(const std::string& arch, bool fuses, bool branch, ProgramKey key = {},
                    Head head = Head::linear) {
    const PaperBackend backend(fuses, branch);
    const Network network = network_of({.arch = arch, .classes = 10, .size = 64, .head = head});
    key.batch = 4;
    return compile(network, StateLayout(network, backend, false), backend, key);
}

int count(const Program& program, OpKind kind) {
    return static_cast<int>(std::count_if(program.ops.begin(), program.ops.end(),
                                          [&](const ProgramOp& step) { return step.desc.kind == kind; }));
}

struct Region {
    std::size_t begin, end;
    std::vector<int> steps;
};

std::vector<Region> arena_regions(const Program& program) {
    std::vector<Region> regions;
    for (int b = 0; b < static_cast<int>(program.buffers.size()); ++b) {
        const Buffer& buffer = program.buffers[static_cast<std::size_t>(b)];
        if (buffer.space != Space::arena) continue;
        Region region{buffer.offset, buffer.offset + buffer.bytes, {}};
        for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
            const ProgramOp& step = program.ops[static_cast<std::size_t>(i)];
            for (const auto* list : {&step.inputs, &step.outputs})
                if (std::find(list->begin(), list->end(), b) != list->end()) region.steps.push_back(i);
        }
        regions.push_back(region);
    }
    for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
        const ProgramOp& step = program.ops[static_cast<std::size_t>(i)];
        if (step.workspace)
            regions.push_back({step.workspace_offset, step.workspace_offset + step.workspace, {i}});
    }
    return regions;
}

TEST(Compiler, two_buffers_share_memory_only_if_the_graph_orders_them) {
    for (const char* arch : {"resnet18", "resnet50"}) {
        for (bool branch : {false, true}) {
            const Program program = compile_for(arch, true, branch);
            const OpOrder order(program.ops);
            const auto all_before = [&](const Region& a, const Region& b) {
                for (int x : a.steps)
                    for (int y : b.steps)
                        if (!order.before(x, y)) return false;
                return true;
            };
            const std::vector<Region> regions = arena_regions(program);
            int shared = 0;
            for (std::size_t i = 0; i < regions.size(); ++i) {
                EXPECT_LE(regions[i].end, program.arena_bytes);
                for (std::size_t j = 0; j < i; ++j) {
                    if (regions[i].begin >= regions[j].end || regions[j].begin >= regions[i].end) continue;
                    ++shared;
                    EXPECT_TRUE(all_before(regions[i], regions[j]) || all_before(regions[j], regions[i]));
                }
            }
            EXPECT_GT(shared, 100) << "memory is reused";
        }
    }
}

TEST(Compiler, every_reader_comes_after_the_writer_in_the_graph_with_a_side_branch) {
    const Program program = compile_for("resnet34", true, true);
    const OpOrder order(program.ops);
    std::vector<int> writer(program.buffers.size(), -1);
    int on_branch = 0;
    for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
        const ProgramOp& step = program.ops[static_cast<std::size_t>(i)];
        on_branch += step.branch == 1;
        for (int b : step.inputs)
            if (const int w = writer[static_cast<std::size_t>(b)]; w >= 0) {
                EXPECT_TRUE(order.before(w, i)) << step.name;
            }
        for (int b : step.outputs) writer[static_cast<std::size_t>(b)] = i;
        if (step.desc.kind == OpKind::check_gradients) {
            for (int j = 0; j < i; ++j)
                if (program.ops[static_cast<std::size_t>(j)].branch == 1) {
                    EXPECT_TRUE(order.before(j, i)) << "the update waits for every weight gradient";
                }
        }
    }
    EXPECT_EQ(on_branch, 37) << "36 convolutions and the classifier";
}

TEST(Compiler, batch_norm_takes_relu_residual_second_norm_and_pool_where_the_back_end_can) {
    const Program fused = compile_for("resnet34", true, false);
    EXPECT_EQ(count(fused, OpKind::batch_norm), 36 - 1 - 2 * 3);
    EXPECT_EQ(count(fused, OpKind::batch_norm_pair), 3) << "the blocks with a downsample branch";
    EXPECT_EQ(count(fused, OpKind::batch_norm_max_pool), 1) << "the stem";
    EXPECT_EQ(count(fused, OpKind::max_pool) + count(fused, OpKind::max_pool_backward), 0);
    EXPECT_EQ(count(fused, OpKind::batch_norm_backward), 36 - 1 - 2 * 3);
    EXPECT_EQ(count(fused, OpKind::batch_norm_pair_backward), 3);
    EXPECT_EQ(count(fused, OpKind::batch_norm_max_pool_backward), 1);
    EXPECT_EQ(count(fused, OpKind::relu), 0);
    EXPECT_EQ(count(fused, OpKind::add), 0) << "no separate additions, forward or backward";
    EXPECT_EQ(count(fused, OpKind::relu_backward), 0);
    EXPECT_EQ(count(fused, OpKind::conv2d_backward_data), 35) << "the image needs no gradient";
    EXPECT_EQ(std::count_if(fused.ops.begin(), fused.ops.end(),
                            [](const ProgramOp& step) { return step.desc.accumulate; }),
              16)
        << "in each block the second gradient joins the first";

    const Program plain = compile_for("resnet34", false, false);
    EXPECT_EQ(count(plain, OpKind::relu), 33);
    EXPECT_EQ(count(plain, OpKind::add), 16 + 16) << "one a block in each direction";
    EXPECT_GT(plain.bytes(), fused.bytes());
}

TEST(Compiler, batch_norms_of_all_ranks_exchange_in_one_order) {
    ProgramKey key;
    key.sync_batch_norm = true;
    EXPECT_EQ(listing(compile_for("resnet34", true, true, key)), listing(compile_for("resnet34", true, true)))
        << "one rank has none to exchange with";
    key.ranks = 3;
    const Program program = compile_for("resnet34", true, true, key);
    for (const OpKind kind : {OpKind::batch_norm, OpKind::batch_norm_backward, OpKind::batch_norm_pair,
                              OpKind::batch_norm_max_pool})
        EXPECT_EQ(count(program, kind), 0) << name_of(kind);
    for (const OpKind kind :
         {OpKind::batch_norm_statistics, OpKind::combine_statistics, OpKind::batch_norm_inference,
          OpKind::batch_norm_gradients, OpKind::average_gradients, OpKind::batch_norm_input_gradient})
        EXPECT_EQ(count(program, kind), 36) << name_of(kind);
    const OpOrder order(program.ops);
    int before = -1;
    for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
        const OpKind kind = program.ops[static_cast<std::size_t>(i)].desc.kind;
        if (kind != OpKind::combine_statistics && kind != OpKind::average_gradients &&
            kind != OpKind::gather_results && kind != OpKind::all_reduce)
            continue;
        EXPECT_TRUE(before < 0 || order.before(before, i)) << program.ops[static_cast<std::size_t>(i)].name;
        before = i;
    }
    // Statistics are of the batches of all ranks: unbiased by their number of samples.
    const auto samples = [](const Program& p) {
        for (const ProgramOp& op : p.ops)
            if (op.desc.kind == OpKind::update_statistics) return op.desc.statistics.at(0).samples;
        return std::int64_t{0};
    };
    key.sync_batch_norm = false;
    EXPECT_EQ(samples(program), 3 * samples(compile_for("resnet34", true, true, key)));
}

TEST(Compiler, flops_are_those_of_the_architecture) {
    const PaperBackend backend;
    const Network network = network_of({.arch = "resnet34", .classes = 1000, .size = 224});
    ProgramKey key;
    key.mode = Mode::predict;
    key.batch = 1;
    double multiply_adds = 0;
    const Program program = compile(network, StateLayout(network, backend, false), backend, key);
    for (const ProgramOp& step : program.ops)
        if (step.desc.kind == OpKind::conv2d || step.desc.kind == OpKind::linear)
            multiply_adds += step.flops / 2;
    EXPECT_NEAR(multiply_adds / 1e9, 3.664, 0.001) << "torchvision's figure";
}

TEST(Compiler, equal_keys_give_equal_listings) {
    EXPECT_EQ(listing(compile_for("resnet18", true, true)), listing(compile_for("resnet18", true, true)));
}

TEST(Compiler, evaluation_needs_far_less_memory_than_training) {
    ProgramKey key;
    key.mode = Mode::evaluate;
    EXPECT_LT(4 * compile_for("resnet34", true, false, key).arena_bytes,
              compile_for("resnet34", true, false).arena_bytes);
}

ProgramKey frozen(int parts, bool norms) {
    ProgramKey key;
    key.frozen = {parts, norms};
    return key;
}

TEST(Compiler, a_frozen_body_whose_norms_learn_has_no_weight_gradients_of_convolutions) {
    for (bool fuses : {true, false}) {
        const Program all = compile_for("resnet34", fuses, true, {}, Head::fastai);
        const Program head = compile_for("resnet34", fuses, true, frozen(5, false), Head::fastai);
        EXPECT_EQ(count(all, OpKind::conv2d_backward_weights), 36);
        EXPECT_EQ(count(head, OpKind::conv2d_backward_weights), 0);
        EXPECT_EQ(count(head, OpKind::conv2d_backward_data), 35) << "the norms' gradients come through them";
        EXPECT_EQ(count(head, OpKind::batch_norm_inference), 0);
        EXPECT_EQ(count(head, OpKind::linear_backward_weights), 2);
        EXPECT_LT(head.flops(), 0.7 * all.flops());
        EXPECT_LT(head.arena_bytes, all.arena_bytes);
    }
}

TEST(Compiler, a_frozen_body_with_its_norms_costs_its_forward_pass_and_keeps_nothing) {
    for (bool fuses : {true, false}) {
        const Program all = compile_for("resnet34", fuses, true, {}, Head::fastai);
        const Program head = compile_for("resnet34", fuses, true, frozen(5, true), Head::fastai);
        ProgramKey key;
        key.mode = Mode::evaluate;
        const Program evaluated = compile_for("resnet34", fuses, true, key, Head::fastai);
        EXPECT_EQ(count(head, OpKind::conv2d_backward_weights) + count(head, OpKind::conv2d_backward_data),
                  0);
        EXPECT_EQ(count(head, OpKind::batch_norm_inference), 36);
        EXPECT_EQ(count(head, OpKind::batch_norm), 2) << "the head's";
        EXPECT_EQ(count(head, OpKind::concat_pool_backward), 0) << "nothing before it needs a gradient";
        EXPECT_EQ(head.arena_bytes, evaluated.arena_bytes) << "the widest moment of the forward pass";
        EXPECT_LT(4 * head.arena_bytes, all.arena_bytes);
    }
}

TEST(Compiler, freezing_up_to_a_layer_cuts_the_backward_pass_there) {
    const auto of_conv = [](const Program& program, OpKind kind) {
        std::vector<std::string> names;
        for (const ProgramOp& step : program.ops)
            if (step.desc.kind == kind) names.push_back(step.name);
        return names;
    };
    const Program program = compile_for("resnet18", true, true, frozen(4, true));
    EXPECT_EQ(of_conv(program, OpKind::conv2d_backward_weights).size(), 5u) << "layer4 with its downsample";
    const auto data = of_conv(program, OpKind::conv2d_backward_data);
    EXPECT_EQ(data.size(), 3u) << "not of the two that read what layer3 made";
    for (const std::string& name : data) EXPECT_TRUE(name.starts_with("layer4.")) << name;
    EXPECT_EQ(count(program, OpKind::add), 0);
}

TEST(Compiler, the_parameter_table_carries_the_frozen_set_and_the_groups_rates) {
    ProgramKey key = frozen(3, false);
    key.group_rates = {0.01, 0.1, 1};
    const Program program = compile_for("resnet18", true, true, key, Head::fastai);
    const Network network = network_of({.arch = "resnet18", .classes = 10, .size = 64, .head = Head::fastai});
    for (const ProgramOp& step : program.ops) {
        if (step.desc.kind != OpKind::update_parameters && step.desc.kind != OpKind::check_gradients)
            continue;
        for (std::size_t i = 0; i < network.parameters().size(); ++i) {
            const Parameter& p = network.parameters()[i];
            const bool early =
                !p.name.starts_with("layer3") && !p.name.starts_with("layer4") && !p.name.starts_with("head");
            const bool norm = p.shape.size() == 1;
            EXPECT_EQ(step.desc.parameters[i].frozen, early && !norm) << p.name;
            EXPECT_EQ(step.desc.parameters[i].lr_multiplier, early                        ? 0.01
                                                             : p.name.starts_with("head") ? 1
                                                                                          : 0.1)
                << p.name;
        }
    }
}

TEST(Compiler, dropout_is_there_in_training_only) {
    EXPECT_EQ(count(compile_for("resnet18", true, true, {}, Head::fastai), OpKind::dropout), 4)
        << "two, forward and backward";
    for (Mode mode : {Mode::evaluate, Mode::predict}) {
        ProgramKey key;
        key.mode = mode;
        EXPECT_EQ(count(compile_for("resnet18", true, true, key, Head::fastai), OpKind::dropout), 0);
    }
}

TEST(Compiler, a_micro_step_of_an_accumulation_updates_no_weights) {
    ProgramKey key;
    key.optimizer.accumulate = 2;
    const Program micro = compile_for("resnet18", true, false, key);
    EXPECT_EQ(count(micro, OpKind::update_parameters), 0);
    EXPECT_EQ(count(micro, OpKind::commit_step), 0);
    EXPECT_EQ(count(micro, OpKind::update_statistics), 0);
    EXPECT_EQ(count(micro, OpKind::accumulate_gradients), 2) << "gradients and batch statistics";
    key.micro = 1;
    const Program last = compile_for("resnet18", true, false, key);
    EXPECT_EQ(count(last, OpKind::update_parameters), 1);
    EXPECT_EQ(count(last, OpKind::commit_step), 1);
    EXPECT_EQ(count(last, OpKind::update_statistics), 1);
}

TEST(Compiler, a_second_sum_is_kept_only_where_groups_of_micro_batches_cross_passes) {
    const auto totals = [](int passes, int ranks) {
        ProgramKey key;
        key.optimizer.accumulate = passes;
        key.ranks = ranks;
        const Program program = compile_for("resnet18", true, false, key);
        return std::count_if(program.buffers.begin(), program.buffers.end(), [](const Buffer& b) {
            return b.space == Space::gradient_total || b.space == Space::statistics_total;
        });
    };
    for (const auto& [passes, ranks] : {std::pair{8, 1}, {2, 4}, {1, 3}, {1, 9}, {2, 8}, {1, 16}, {3, 16}})
        EXPECT_EQ(totals(passes, ranks), 0) << passes << " x " << ranks;
    EXPECT_EQ(totals(9, 1), 2) << "of gradients, and of batch statistics";
    for (const auto& [passes, ranks] : {std::pair{3, 3}, {6, 3}, {2, 12}})
        EXPECT_GT(totals(passes, ranks), 2) << "of each bucket: " << passes << " x " << ranks;
}

TEST(Compiler, ranks_add_up_every_trained_gradient_once_beside_the_backward_pass) {
    for (const int accumulate : {1, 2}) {
        ProgramKey key = frozen(2, false);
        key.optimizer.accumulate = accumulate;
        key.micro = accumulate - 1;
        key.ranks = 3;
        key.rank = 1;
        const Program program = compile_for("resnet18", true, true, key);
        EXPECT_EQ(count(program, OpKind::accumulate_gradients), 0);
        EXPECT_EQ(count(program, OpKind::gather_results), 1);
        std::vector<int> reduced;  // for each 128 elements of the flat buffer, how often
        int early = 0;             // buckets that do not wait for the last op of the backward pass
        int last_backward = 0;
        for (int i = 0; i < static_cast<int>(program.ops.size()); ++i)
            if (program.ops[static_cast<std::size_t>(i)].phase == Phase::backward &&
                program.ops[static_cast<std::size_t>(i)].branch == 0)
                last_backward = i;
        const OpOrder order(program.ops);
        for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
            const ProgramOp& op = program.ops[static_cast<std::size_t>(i)];
            if (op.desc.kind != OpKind::all_reduce) continue;
            EXPECT_EQ(op.branch, 2) << op.name;
            const Buffer& values = program.buffers[static_cast<std::size_t>(op.outputs[0])];
            if (values.space != Space::gradients) continue;
            early += order.before(last_backward, i) ? 0 : 1;
            const std::size_t begin = values.offset / sizeof(float) / 128,
                              end = begin + static_cast<std::size_t>(values.desc.elements()) / 128;
            if (reduced.size() < end) reduced.resize(end);
            for (std::size_t k = begin; k < end; ++k) ++reduced[k];
        }
        EXPECT_GT(early, 3);
        for (const ParameterSegment& s : program.ops.back().desc.parameters)
            for (std::int64_t at = s.offset; at < s.offset + s.elements; at += 128)
                ASSERT_EQ(static_cast<std::size_t>(at / 128) < reduced.size()
                              ? reduced[static_cast<std::size_t>(at / 128)]
                              : 0,
                          s.frozen ? 0 : 1);
    }
}

}  // namespace
}  // namespace onecycle
