// With several ranks: their gradients are added up, bucket by bucket, on a branch of their own. The
// flat buffers lie in the order of the backward pass, so that the first buckets travel while the
// backward pass goes on; the edges follow from what each op reads and writes.
#include <algorithm>

#include "nn/compiler.h"

namespace onecycle {

namespace {

// Large enough that a link is busy and small enough that there are several to overlap: as
// PyTorch's, whose default is 25 MB for slower links.
constexpr std::int64_t bucket_elements = std::int64_t{2} << 20;

std::int64_t end_of(const ParameterSegment& segment) {
    return segment.offset + padded_to_segment(segment.elements);
}

}  // namespace

OpDesc ProgramBuilder::reduction() const {
    OpDesc desc{.kind = OpKind::all_reduce};
    desc.accumulation = program.key.optimizer.accumulate;
    desc.micro = program.key.micro;
    desc.rank = program.key.rank;
    desc.ranks = program.key.ranks;
    desc.two_levels = program.key.two_levels;
    return desc;
}

void ProgramBuilder::add_collective(const std::string& name, Phase phase, const OpDesc& desc,
                                    const std::vector<int>& inputs, const std::vector<int>& outputs) {
    constexpr int branch = 2;
    add_op(name, phase, desc, inputs, outputs, branch);
}

std::vector<int> ProgramBuilder::sums(const std::string& name, const SummedSpaces& spaces, std::int64_t begin,
                                      std::int64_t elements) {
    const std::size_t at = static_cast<std::size_t>(begin) * sizeof(float);
    std::vector<int> kept;
    if (program.key.optimizer.accumulate > 1)
        kept.push_back(add_buffer("sum of " + name, {elements}, spaces.sum, at));
    if (groups_cross()) kept.push_back(add_buffer("total of " + name, {elements}, spaces.total, at));
    return kept;
}

void ProgramBuilder::add_reduction_op(const std::string& name, const OpDesc& desc, const SummedSpaces& spaces,
                                      std::int64_t begin, std::int64_t elements) {
    const auto buffer = [&](const std::string& title, Space at, DType type) {
        return add_buffer(title, TensorDesc({elements}, Layout::plain, type), at,
                          static_cast<std::size_t>(begin) * size_of(type));
    };
    const int values = buffer(name, spaces.values, DType::f32);
    std::vector<int> inputs = {values}, outputs = {values};
    if (std::any_of(desc.parameters.begin(), desc.parameters.end(),
                    [](const ParameterSegment& s) { return s.half_gradient; }))
        inputs.push_back(buffer("half " + name, Space::half_gradients, layout.compute));
    if (groups_cross()) inputs.push_back(control());
    const std::vector<int> kept = sums(name, spaces, begin, elements);
    outputs.insert(outputs.end(), kept.begin(), kept.end());
    add_collective(name, Phase::update, desc, inputs, outputs);
}

void add_gather_results(ProgramBuilder& builder) {
    Program& program = builder.program;
    OpDesc desc = builder.reduction();
    desc.kind = OpKind::gather_results;
    const auto bytes = [](std::size_t n) {
        return TensorDesc({static_cast<std::int64_t>(n)}, Layout::plain, DType::u8);
    };
    const int progress = builder.add_buffer("progress", bytes(sizeof(StepProgress)), Space::progress);
    const int results = builder.add_buffer(
        "results", bytes(sizeof(BatchResult) * static_cast<std::size_t>(program.key.ranks)));
    builder.add_collective("gather_results", Phase::loss, desc, {program.result, progress}, {results});
    builder.results = results;
}

void add_reduction(ProgramBuilder& builder) {
    std::vector<ParameterSegment> segments = builder.parameter_table();
    std::erase_if(segments, [](const ParameterSegment& s) { return s.frozen || s.elements == 0; });
    std::sort(segments.begin(), segments.end(),
              [](const ParameterSegment& a, const ParameterSegment& b) { return a.offset < b.offset; });
    int number = 0;
    for (std::size_t i = 0; i < segments.size();) {
        const std::int64_t begin = segments[i].offset;
        std::int64_t end = begin;
        OpDesc desc = builder.reduction();
        for (; i < segments.size() && segments[i].offset == end && end - begin < bucket_elements; ++i) {
            end = end_of(segments[i]);
            ParameterSegment inside = segments[i];
            inside.offset -= begin;
            desc.parameters.push_back(inside);
        }
        builder.add_reduction_op("bucket " + std::to_string(number++), desc, summed_gradients, begin,
                                 end - begin);
    }
    if (!builder.statistics.empty())
        builder.add_reduction_op("batch statistics", builder.reduction(), summed_statistics, 0,
                                 builder.layout.batch_statistics_elements);
}

}  // namespace onecycle
