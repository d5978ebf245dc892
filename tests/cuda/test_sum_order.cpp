// The sum over an update's micro batches, on both back ends: however they are spread over ranks and
// passes, and whatever way they go, it is that of a plain double loop in 32 bits. The ranks are run one
// after the other; what the others send is known.
#include <functional>

#include "cuda/cuda.h"
#include "cuda/known_ranks.h"
#include "rules/half.h"
#include "rules/rng.h"
#include "rules/sum_order.h"

namespace onecycle::testing {

namespace {

using Buffer = KnownRanks::Buffer;

constexpr std::int64_t n = 384;  // 16 ranks get 24 each
constexpr std::size_t size = n;

// Of many magnitudes, so that the order of additions shows. They are bf16 numbers, too.
std::vector<Buffer> micro_batches(int count) {
    RandomStream random(7, RandomPurpose::demo_data, 0, 0);
    std::vector<Buffer> all(static_cast<std::size_t>(count), Buffer(size));
    for (Buffer& values : all)
        for (float& v : values)
            v = to_float(
                from_float<bf16>(std::ldexp(random.uniform() - 0.5f, static_cast<int>(random.below(30)))));
    return all;
}

void add_to(Buffer& sum, const Buffer& more) {
    for (std::size_t i = 0; i < size; ++i) sum[i] += more[i];
}

// The sums of groups of so many.
std::vector<Buffer> sums_of(const std::vector<Buffer>& all, std::size_t group) {
    std::vector<Buffer> sums;
    for (std::size_t m = 0; m < all.size(); ++m)
        if (m % group == 0)
            sums.push_back(all[m]);
        else
            add_to(sums.back(), all[m]);
    return sums;
}

Buffer mean_of(const std::vector<Buffer>& all, std::size_t group) {
    Buffer mean = sums_of(sums_of(all, group), all.size())[0];
    for (float& v : mean) v /= static_cast<float>(all.size());
    return mean;
}

struct Spread {
    int ranks, passes;
    bool two_levels = false, halves = false;
};

Machine machine_for(bool emulated, Communicator* ranks) {
    if (emulated) return {make_emulated_device(), make_emulated_backend(ranks)};
    return {make_cpu_device(0), make_cpu_backend(2, ranks)};
}

// What rank `rank` of them has in place of its gradients after the last pass.
Buffer reduced(const Spread& spread, int rank, bool emulated, const std::vector<Buffer>& all,
               const Buffer& expected) {
    const auto [ranks, passes, two_levels, halves] = spread;
    const bool crosses = groups_cross_passes(passes, ranks);
    const TensorDesc flat{n};
    OpDesc desc{.kind = ranks > 1 ? OpKind::all_reduce : OpKind::accumulate_gradients};
    desc.accumulation = passes;
    desc.rank = rank;
    desc.ranks = ranks;
    desc.two_levels = two_levels;
    desc.parameters = {{.offset = 0, .elements = n, .half_gradient = halves}};
    Buffer gradients(size), sum(size, NAN), total(size, NAN);
    std::vector<std::uint16_t> half(size);
    StepControl control{};
    for (desc.micro = 0; desc.micro < passes; ++desc.micro) {
        const bool last = desc.micro == passes - 1;
        const auto first = all.begin() + desc.micro * ranks;
        const std::vector<Buffer> of_pass(first, first + ranks);
        gradients = of_pass[static_cast<std::size_t>(rank)];
        if (halves) {
            for (std::size_t i = 0; i < size; ++i) half[i] = from_float<bf16>(gradients[i]).bits;
            gradients.assign(size, NAN);
        }
        desc.inputs = {flat};
        desc.outputs.clear();
        std::vector<void*> in = {gradients.data()}, out;
        const auto output = [&](Buffer& buffer) {
            desc.outputs.push_back(flat);
            out.push_back(buffer.data());
        };
        if (halves) {
            desc.inputs.push_back(TensorDesc({n}, Layout::plain, DType::bf16));
            in.push_back(half.data());
        }
        if (crosses) {
            desc.inputs.push_back(control_desc());
            in.push_back(&control);
        }
        if (ranks > 1) output(gradients);
        if (passes > 1) output(sum);
        if (crosses) output(total);
        if (ranks == 1 && last) output(gradients);

        std::vector<std::vector<Buffer>> sent = {of_pass};
        if (two_levels) {  // then each rank has the sum of its group
            sent.emplace_back();
            for (const Buffer& of_group : sums_of(of_pass, 8)) sent[1].insert(sent[1].end(), 8, of_group);
        }
        const std::size_t levels = ranks > 1 ? sent.size() : 0;
        KnownRanks others(rank, ranks, sent, expected);
        OpDesc here = desc;
        if (!last && desc.micro > 1) here.micro = 1;  // the passes between are one program
        EXPECT_TRUE(run_in_place(here, in, out, machine_for(emulated, &others)));
        EXPECT_EQ(others.scatters, levels);
        EXPECT_EQ(others.gathers, last ? levels : 0);
        ++control.micro;
    }
    return gradients;
}

class SumOrder : public ::testing::TestWithParam<bool> {};

TEST_P(SumOrder, is_of_groups_of_eight_however_micro_batches_are_spread) {
    for (const Spread& spread :
         {Spread{2, 1},        Spread{1, 2},        Spread{1, 8},  Spread{8, 1},        Spread{4, 2},
          Spread{3, 2},        Spread{9, 1},        Spread{1, 9},  Spread{6, 3},        Spread{3, 6},
          Spread{2, 9},        Spread{2, 5},        Spread{5, 2},  Spread{16, 1},       Spread{1, 16},
          Spread{7, 3},        Spread{8, 3},        Spread{24, 1}, Spread{16, 1, true}, Spread{16, 3},
          Spread{16, 3, true}, Spread{24, 1, true}, Spread{1, 17}}) {
        const std::vector<Buffer> all = micro_batches(spread.ranks * spread.passes);
        const Buffer expected = mean_of(all, 8);
        if (all.size() > 9) {
            EXPECT_NE(expected, mean_of(all, all.size())) << "the numbers show no order";
        } else {
            EXPECT_EQ(expected, mean_of(all, all.size())) << "up to nine are added one by one";
        }
        for (int rank = 0; rank<spread.ranks; rank += spread.ranks> 8 ? 5 : 1)
            EXPECT_EQ(reduced(spread, rank, GetParam(), all, expected), expected)
                << spread.ranks << " ranks, " << spread.passes << " passes, rank " << rank
                << (spread.two_levels ? ", two levels" : "");
    }
}

INSTANTIATE_TEST_SUITE_P(Devices, SumOrder, ::testing::Bool(),
                         [](const auto& made) { return made.param ? "emulated" : "cpu"; });

TEST(SumOrderOnTheEmulatedDevice, is_the_same_of_16_bit_gradients) {
    for (const Spread& spread :
         {Spread{1, 3, false, true}, Spread{1, 10, false, true}, Spread{3, 1, false, true},
          Spread{3, 4, false, true}, Spread{16, 2, true, true}}) {
        const std::vector<Buffer> all = micro_batches(spread.ranks * spread.passes);
        const Buffer expected = mean_of(all, 8);
        EXPECT_EQ(reduced(spread, spread.ranks - 1, true, all, expected), expected)
            << spread.ranks << " ranks, " << spread.passes << " passes";
    }
}

}  // namespace

}  // namespace onecycle::testing
