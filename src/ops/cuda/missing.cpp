// Operations whose kernels are still to be written: making one says so.
#include "onecycle/error.h"
#include "ops/cuda/make.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

[[noreturn]] MadeOp missing(const OpDesc& desc) {
    throw Error(ErrorKind::device, std::string("cannot make ") + name_of(desc.kind), "cuda",
                "this back end does not have it");
}

}  // namespace

MadeOp make_normalize_images(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_batch_norm(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_batch_norm_backward(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_batch_norm_inference(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_batch_norm_pair(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_batch_norm_pair_backward(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_batch_norm_max_pool(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_batch_norm_max_pool_backward(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_max_pool(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_max_pool_backward(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_global_average_pool(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_global_average_pool_backward(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_softmax_cross_entropy(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_softmax(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_accumulate_gradients(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_check_gradients(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_update_parameters(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_update_statistics(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_update_average(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_commit_step(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_add_metrics(const OpDesc& desc, const Context&) {
    return missing(desc);
}

}  // namespace onecycle::ONECYCLE_CUDA
