#include "nn/memory_plan.h"

#include <algorithm>

#include "nn/dependencies.h"

namespace onecycle {

namespace {

constexpr std::size_t alignment = 256;  // bytes: whole cache lines, and what CUDA's vector accesses like

struct Block {
    std::size_t bytes;
    std::size_t* offset;
    int writer = -1;           // the first op that touches it
    std::vector<int> touched;  // all ops that read or write it
    bool kept = false;
};

bool may_follow(const Block& first, const Block& second, const OpOrder& order) {
    return !first.kept && std::all_of(first.touched.begin(), first.touched.end(),
                                      [&](int op) { return order.before(op, second.writer); });
}

}  // namespace

void plan_memory(Program& program, const std::vector<int>& kept) {
    const OpOrder order(program.ops);
    std::vector<Block> blocks(program.buffers.size());
    for (std::size_t b = 0; b < program.buffers.size(); ++b) {
        Buffer& buffer = program.buffers[b];
        blocks[b] = {.bytes = buffer.space == Space::arena ? buffer.bytes : 0, .offset = &buffer.offset};
    }
    for (int b : kept) blocks[static_cast<std::size_t>(b)].kept = true;
    for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
        ProgramOp& op = program.ops[static_cast<std::size_t>(i)];
        for (const auto* list : {&op.outputs, &op.inputs}) {
            for (int b : *list) {
                Block& block = blocks[static_cast<std::size_t>(b)];
                if (block.writer < 0) block.writer = i;
                block.touched.push_back(i);
            }
        }
        if (op.workspace)
            blocks.push_back(
                {.bytes = op.workspace, .offset = &op.workspace_offset, .writer = i, .touched = {i}});
    }
    std::erase_if(blocks, [](const Block& block) { return block.bytes == 0 || block.writer < 0; });
    std::stable_sort(blocks.begin(), blocks.end(),
                     [](const Block& a, const Block& b) { return a.bytes > b.bytes; });

    program.arena_bytes = 0;
    std::vector<const Block*> in_the_way;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        Block& block = blocks[i];
        in_the_way.clear();
        for (std::size_t j = 0; j < i; ++j)
            if (!may_follow(blocks[j], block, order) && !may_follow(block, blocks[j], order))
                in_the_way.push_back(&blocks[j]);
        std::sort(in_the_way.begin(), in_the_way.end(),
                  [](const Block* a, const Block* b) { return *a->offset < *b->offset; });
        std::size_t place = 0;
        for (const Block* other : in_the_way) {
            if (place + block.bytes <= *other->offset) break;
            place = std::max(place, (*other->offset + other->bytes + alignment - 1) / alignment * alignment);
        }
        *block.offset = place;
        program.arena_bytes = std::max(program.arena_bytes, place + block.bytes);
    }
}

}  // namespace onecycle
