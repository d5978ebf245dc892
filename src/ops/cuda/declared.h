// What an operation touches, told to the emulator's checker (device/emulated/checker.h) while it
// puts its work on a stream. On a GPU there is nobody to tell.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/cuda.h"
#include "ops/ops.h"

namespace onecycle::ONECYCLE_CUDA {

#if defined(ONECYCLE_EMULATED)

class DeclaredOperation {
  public:
    DeclaredOperation(const OpDesc& desc, void* const* inputs, void* const* outputs, void* workspace,
                      std::size_t workspace_bytes) {
        if (!checker::watches()) return;
        const bool in_place = works_in_place(desc.kind);
        std::vector<Operand> operands;
        for (std::size_t i = 0; i < desc.inputs.size(); ++i)
            operands.push_back({"input " + std::to_string(i), {inputs[i], desc.inputs[i].bytes()}});
        for (std::size_t i = 0; i < desc.outputs.size(); ++i) {
            const TensorDesc& t = desc.outputs[i];
            bool replaced = !in_place;
            for (void* const* in = inputs; in != inputs + desc.inputs.size(); ++in)
                replaced = replaced && *in != outputs[i];
            const bool is_struct = t.rank == 1 && t.type == DType::u8;  // and may have padding
            operands.push_back({.name = "output " + std::to_string(i),
                                .place = {outputs[i], t.bytes()},
                                .written = true,
                                .fresh = replaced,
                                .whole = replaced && !is_struct});
        }
        operands.push_back({.name = "its workspace",
                            .place = {workspace, workspace_bytes},
                            .written = true,
                            .fresh = true,
                            .scratch = true});
        checker::begin_operation(name_of(desc.kind), std::move(operands));
    }
    ~DeclaredOperation() { checker::end_operation(); }
    DeclaredOperation(const DeclaredOperation&) = delete;
    DeclaredOperation& operator=(const DeclaredOperation&) = delete;
};

#else

struct DeclaredOperation {
    DeclaredOperation(const OpDesc&, void* const*, void* const*, void*, std::size_t) {}
};

#endif

}  // namespace onecycle::ONECYCLE_CUDA
