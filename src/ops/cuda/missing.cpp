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
MadeOp make_conv2d(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_linear(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_linear_backward_data(const OpDesc& desc, const Context&) {
    return missing(desc);
}
MadeOp make_linear_backward_weights(const OpDesc& desc, const Context&) {
    return missing(desc);
}

}  // namespace onecycle::ONECYCLE_CUDA
