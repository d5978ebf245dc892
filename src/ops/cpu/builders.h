// What every operation of the CPU back end shares: one builder a kind, checks of operands,
// workspace.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "ops/checks.h"
#include "ops/ops.h"

namespace onecycle::cpu {

// What builders know of the machine.
struct Context {
    int threads = 1;
    Communicator* ranks = nullptr;  // null: one rank
    int block = 8;                  // channels in a block of oneDNN's layouts: 16 with AVX-512, else 8
};

using OpBuilder = BuiltOp (*)(const OpDesc&, const Context&);

// make_<kind> of every kind that this back end has.
#define ONECYCLE_BUILDER(kind, writes) BuiltOp make_##kind(const OpDesc&, const Context&);
#define ONECYCLE_NO_BUILDER(kind, writes)
ONECYCLE_OP_KINDS(ONECYCLE_BUILDER, ONECYCLE_NO_BUILDER)
#undef ONECYCLE_BUILDER
#undef ONECYCLE_NO_BUILDER

// An operation made of a function (inputs, outputs, workspace).
template <typename F>
BuiltOp op_from(const OpDesc& desc, std::size_t workspace, F function) {
    class FunctionOp final : public Op {
      public:
        explicit FunctionOp(F function) : function_(std::move(function)) {}
        void run(void* const* inputs, void* const* outputs, void* workspace, Stream&) override {
            function_(inputs, outputs, workspace);
        }

      private:
        F function_;
    };
    BuiltOp made;
    made.op = std::make_unique<FunctionOp>(std::move(function));
    made.desc = desc;
    made.workspace = workspace;
    made.implementation = "own";
    return made;
}

inline const float* floats(void* p) {
    return static_cast<const float*>(p);
}
inline float* floats_out(void* p) {
    return static_cast<float*>(p);
}

}  // namespace onecycle::cpu
