// The CUDA back end: which maker serves which kind.
#include "onecycle/error.h"
#include "ops/cuda/builders.h"
#include "ops/cuda/switches.h"

namespace onecycle {

namespace ONECYCLE_CUDA {

namespace {

OpBuilder builder_of(OpKind kind) {
    switch (kind) {
        case OpKind::normalize_images:
            return make_normalize_images;
        case OpKind::take_batch:
            return make_take_batch;
        case OpKind::augment_images:
            return make_augment_images;
        case OpKind::mix_batch:
            return make_mix_batch;
        case OpKind::conv2d:
        case OpKind::conv2d_backward_data:
        case OpKind::conv2d_backward_weights:
            return make_conv2d;
        case OpKind::add_channel_bias:
            return make_add_channel_bias;
        case OpKind::channel_bias_gradient:
            return make_channel_bias_gradient;
        case OpKind::batch_norm:
            return make_batch_norm;
        case OpKind::batch_norm_backward:
            return make_batch_norm_backward;
        case OpKind::batch_norm_inference:
            return make_batch_norm_inference;
        case OpKind::batch_norm_pair:
            return make_batch_norm_pair;
        case OpKind::batch_norm_pair_backward:
            return make_batch_norm_pair_backward;
        case OpKind::batch_norm_max_pool:
            return make_batch_norm_max_pool;
        case OpKind::batch_norm_max_pool_backward:
            return make_batch_norm_max_pool_backward;
        case OpKind::relu:
            return make_relu;
        case OpKind::relu_backward:
            return make_relu_backward;
        case OpKind::add:
            return make_add;
        case OpKind::max_pool:
            return make_max_pool;
        case OpKind::max_pool_backward:
            return make_max_pool_backward;
        case OpKind::global_average_pool:
            return make_global_average_pool;
        case OpKind::global_average_pool_backward:
            return make_global_average_pool_backward;
        case OpKind::adaptive_average_pool:
            return make_adaptive_average_pool;
        case OpKind::adaptive_average_pool_backward:
            return make_adaptive_average_pool_backward;
        case OpKind::concat_pool:
            return make_concat_pool;
        case OpKind::concat_pool_backward:
            return make_concat_pool_backward;
        case OpKind::dropout:
            return make_dropout;
        case OpKind::linear:
            return make_linear;
        case OpKind::linear_backward_data:
            return make_linear_backward_data;
        case OpKind::linear_backward_weights:
            return make_linear_backward_weights;
        case OpKind::softmax_cross_entropy:
            return make_softmax_cross_entropy;
        case OpKind::softmax:
            return make_softmax;
        case OpKind::confusion:
            return make_confusion;
        case OpKind::accumulate_gradients:
            return make_accumulate_gradients;
        case OpKind::check_gradients:
            return make_check_gradients;
        case OpKind::update_parameters:
            return make_update_parameters;
        case OpKind::update_statistics:
            return make_update_statistics;
        case OpKind::commit_step:
            return make_commit_step;
        case OpKind::add_metrics:
            return make_add_metrics;
    }
    throw Error(ErrorKind::device, "cannot make an operation", "cuda", "its kind is unknown");
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

ONECYCLE_CUDA::Context switched(ONECYCLE_CUDA::Context context) {
    const Switches switches = read_switches();
    if (!switches.one_grid) context.one_grid_bytes = 0;
    context.weight_gradient_branch = switches.branch;
    context.early_start = switches.early_start;
    return context;
}

}  // namespace

#if defined(ONECYCLE_EMULATED)
std::unique_ptr<Backend> make_emulated_backend() {
    return emulated::make_backend(switched({.multiprocessors = emulated::emulated_multiprocessors}));
}
#else
std::unique_ptr<Backend> make_cuda_backend(const CudaMath& math) {
    using namespace cuda;
    int device = 0, multiprocessors = 0, cache = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
          "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&cache, cudaDevAttrL2CacheSize, device), "cudaDeviceGetAttribute");
    return make_backend(switched({.multiprocessors = multiprocessors,
                                  .deterministic = math.deterministic,
                                  .one_grid_bytes = static_cast<std::size_t>(cache) / 2,
                                  .tf32 = math.tf32,
                                  .plans = math.plans}));
}
#endif

}  // namespace onecycle
