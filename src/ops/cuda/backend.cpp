// The CUDA back end: which builder serves which kind.
#include "device/cuda/collectives.h"
#include "onecycle/error.h"
#include "ops/cuda/builders.h"
#include "ops/cuda/switches.h"

#if defined(ONECYCLE_EMULATED)
#include <omp.h>

#include "core/threads.h"
#endif

namespace onecycle {

namespace ONECYCLE_CUDA {

namespace {

OpBuilder builder_of(OpKind kind) {
    static constexpr OpBuilder builders[] = {
#define ONECYCLE_BUILDER(kind, writes) make_##kind,
        ONECYCLE_OP_KINDS(ONECYCLE_BUILDER, ONECYCLE_BUILDER)
#undef ONECYCLE_BUILDER
    };
    return builders[static_cast<std::size_t>(kind)];
}

class CudaBackend final : public Backend {
  public:
    explicit CudaBackend(const Context& context) : context_(context) {}

    bool can_fuse(Fusion) const override { return true; }

    // Tensor cores want channels in eights: the stem's three are padded.
    Layout parameter_layout(const TensorDesc& plain) const override {
        if (plain.rank != 4) return Layout::plain;
        return plain[1] % 8 == 0 || plain.type == DType::f32 ? Layout::ohwi : Layout::ohwi8i;
    }

    bool asynchronous() const override { return true; }
    bool resident_images() const override { return true; }
    bool weight_gradient_branch() const override { return context_.weight_gradient_branch; }

    BuiltOp make(const OpDesc& desc) const override { return builder_of(desc.kind)(desc, context_); }

    std::string instruction_set() const override { return ""; }
    std::vector<std::pair<std::string, std::string>> libraries() const override { return {}; }

  private:
    Context context_;
};

}  // namespace

std::unique_ptr<Backend> make_backend(const Context& context) {
    return std::make_unique<CudaBackend>(context);
}

}  // namespace ONECYCLE_CUDA

namespace {

std::shared_ptr<ONECYCLE_CUDA::DeviceCommunicator> joined(Communicator* ranks) {
    return ranks ? std::make_shared<ONECYCLE_CUDA::DeviceCommunicator>(*ranks) : nullptr;
}

ONECYCLE_CUDA::Context switched(ONECYCLE_CUDA::Context context) {
    const Switches switches = read_switches();
    if (!switches.one_grid) context.one_grid_bytes = 0;
    context.weight_gradient_branch = switches.branch;
    return context;
}

}  // namespace

#if defined(ONECYCLE_EMULATED)
std::unique_ptr<Backend> make_emulated_backend(Communicator* ranks) {
    // Asked once, not for each of a network's products: it starts the threads.
    const int wanted = omp_get_max_threads(), granted = threads_to_be_had(wanted);
    if (granted < wanted) omp_set_num_threads(granted);
    return emulated::make_backend(
        switched({.multiprocessors = emulated::emulated_multiprocessors, .ranks = joined(ranks)}));
}
#else
std::unique_ptr<Backend> make_cuda_backend(const CudaMath& math) {
    using namespace cuda;
    int multiprocessors = 0, cache = 0;
    check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, math.device),
          "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, math.device), "cudaDeviceGetAttribute");
    return make_backend(switched({.multiprocessors = multiprocessors,
                                  .deterministic = math.deterministic,
                                  .one_grid_bytes = static_cast<std::size_t>(cache) / 2,
                                  .tf32 = math.tf32,
                                  .plans = math.plans,
                                  .ranks = joined(math.ranks)}));
}
#endif

}  // namespace onecycle
