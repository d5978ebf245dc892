// The CPU back end: which builder serves which kind, and what the machine can do.
#include "core/threads.h"
#include "onecycle/error.h"
#include "ops/cpu/builders.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/parallel.h"

namespace onecycle {

namespace {

cpu::OpBuilder builder_of(OpKind kind) {
    static constexpr cpu::OpBuilder builders[] = {
#define ONECYCLE_BUILDER(kind, writes) cpu::make_##kind,
#define ONECYCLE_NO_BUILDER(kind, writes) nullptr,
        ONECYCLE_OP_KINDS(ONECYCLE_BUILDER, ONECYCLE_NO_BUILDER)
#undef ONECYCLE_BUILDER
#undef ONECYCLE_NO_BUILDER
    };
    if (const cpu::OpBuilder builder = builders[static_cast<std::size_t>(kind)]) return builder;
    throw Error(ErrorKind::device, std::string("cannot make ") + name_of(kind), "cpu", "only CUDA has it");
}

// How many threads OpenMP really starts when so many are wanted: the system or OMP_THREAD_LIMIT may
// leave fewer, and oneDNN's primitives are made for an exact number.
int threads_granted(int wanted) {
    wanted = threads_to_be_had(wanted);
    const int dynamic = omp_get_dynamic();
    omp_set_dynamic(0);
    int granted = 1;
#pragma omp parallel num_threads(wanted)
#pragma omp single
    granted = omp_get_num_threads();
    omp_set_dynamic(dynamic);
    if (granted < omp_get_max_threads()) omp_set_num_threads(granted);  // what oneDNN takes where nobody says
    return granted;
}

class CpuBackend final : public Backend {
  public:
    CpuBackend(int threads, Communicator* ranks) {
        context_.ranks = ranks;
        onednn::guard_instruction_set();
        context_.threads = threads_granted(threads > 0 ? threads : omp_get_max_threads());
        context_.block = onednn::has_avx512() ? 16 : 8;
    }

    bool can_fuse(Fusion fusion) const override {
        return fusion == Fusion::batch_norm_relu || fusion == Fusion::batch_norm_add_relu ||
               fusion == Fusion::sum_of_gradients;
    }

    Layout parameter_layout(const TensorDesc& plain) const override {
        if (plain.rank != 4) return Layout::plain;
        const std::int64_t block = context_.block;
        const bool wide = block == 16;
        if (plain[0] % block != 0) return Layout::plain;
        if (plain[1] % block == 0) return wide ? Layout::OIhw16i16o : Layout::OIhw8i8o;
        // The stem reads images as they come: three channels, each by itself.
        if (plain[1] <= 3) return wide ? Layout::Ohwi16o : Layout::Ohwi8o;
        return Layout::plain;
    }

    bool asynchronous() const override { return false; }

    // One pool of threads: a second branch would only take them from the first.
    bool weight_gradient_branch() const override { return false; }

    BuiltOp make(const OpDesc& desc) const override { return builder_of(desc.kind)(desc, context_); }

    std::string instruction_set() const override { return onednn::instruction_set(); }

    std::vector<std::pair<std::string, std::string>> libraries() const override {
        return {{"oneDNN", onednn::version()}, {"OpenMP", std::to_string(_OPENMP)}};
    }

  private:
    cpu::Context context_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads, Communicator* ranks) {
    return std::make_unique<CpuBackend>(threads, ranks);
}

}  // namespace onecycle
