// The CPU back end: which maker serves which kind, and what the machine can do.
#include "onecycle/error.h"
#include "ops/cpu/builders.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/parallel.h"

namespace onecycle {

namespace {

cpu::OpBuilder builder_of(OpKind kind) {
    switch (kind) {
        case OpKind::normalize_images:
            return cpu::make_normalize_images;
        case OpKind::mix_batch:
            return cpu::make_mix_batch;
        case OpKind::conv2d:
        case OpKind::conv2d_backward_data:
        case OpKind::conv2d_backward_weights:
            return cpu::make_conv2d;
        case OpKind::add_channel_bias:
            return cpu::make_add_channel_bias;
        case OpKind::channel_bias_gradient:
            return cpu::make_channel_bias_gradient;
        case OpKind::batch_norm:
            return cpu::make_batch_norm;
        case OpKind::batch_norm_backward:
            return cpu::make_batch_norm_backward;
        case OpKind::batch_norm_inference:
            return cpu::make_batch_norm_inference;
        case OpKind::augment_images:
            break;  // see resident_images
        case OpKind::batch_norm_pair:
        case OpKind::batch_norm_pair_backward:
        case OpKind::batch_norm_max_pool:
        case OpKind::batch_norm_max_pool_backward:
            break;  // see can_fuse
        case OpKind::take_batch:
            break;  // see asynchronous
        case OpKind::relu:
            return cpu::make_relu;
        case OpKind::relu_backward:
            return cpu::make_relu_backward;
        case OpKind::add:
            return cpu::make_add;
        case OpKind::max_pool:
            return cpu::make_max_pool;
        case OpKind::max_pool_backward:
            return cpu::make_max_pool_backward;
        case OpKind::global_average_pool:
            return cpu::make_global_average_pool;
        case OpKind::global_average_pool_backward:
            return cpu::make_global_average_pool_backward;
        case OpKind::adaptive_average_pool:
            return cpu::make_adaptive_average_pool;
        case OpKind::adaptive_average_pool_backward:
            return cpu::make_adaptive_average_pool_backward;
        case OpKind::concat_pool:
            return cpu::make_concat_pool;
        case OpKind::concat_pool_backward:
            return cpu::make_concat_pool_backward;
        case OpKind::dropout:
            return cpu::make_dropout;
        case OpKind::linear:
            return cpu::make_linear;
        case OpKind::linear_backward_data:
            return cpu::make_linear_backward_data;
        case OpKind::linear_backward_weights:
            return cpu::make_linear_backward_weights;
        case OpKind::softmax_cross_entropy:
            return cpu::make_softmax_cross_entropy;
        case OpKind::softmax:
            return cpu::make_softmax;
        case OpKind::confusion:
            return cpu::make_confusion;
        case OpKind::accumulate_gradients:
            return cpu::make_accumulate_gradients;
        case OpKind::check_gradients:
            return cpu::make_check_gradients;
        case OpKind::update_parameters:
            return cpu::make_update_parameters;
        case OpKind::update_statistics:
            return cpu::make_update_statistics;
        case OpKind::commit_step:
            return cpu::make_commit_step;
        case OpKind::add_metrics:
            return cpu::make_add_metrics;
    }
    throw Error(ErrorKind::device, "cannot make an operation", "cpu", "its kind is unknown");
}

// How many threads OpenMP really starts when so many are wanted: OMP_THREAD_LIMIT may leave fewer,
// and oneDNN's primitives are made for an exact number.
int threads_granted(int wanted) {
    const int dynamic = omp_get_dynamic();
    omp_set_dynamic(0);
    int granted = 1;
#pragma omp parallel num_threads(wanted)
#pragma omp single
    granted = omp_get_num_threads();
    omp_set_dynamic(dynamic);
    return granted;
}

class CpuBackend final : public Backend {
  public:
    explicit CpuBackend(int threads) {
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

std::unique_ptr<Backend> make_cpu_backend(int threads) {
    return std::make_unique<CpuBackend>(threads);
}

}  // namespace onecycle
