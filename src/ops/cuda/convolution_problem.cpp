#include "ops/cuda/convolution_problem.h"

#include <fmt/format.h>

#include <utility>

#include "ops/checks.h"

namespace onecycle {

const char* name_of(Pass pass) {
    static constexpr const char* names[] = {"forward", "backward_data", "backward_weights"};
    return names[static_cast<std::size_t>(pass)];
}

std::string to_string(const ConvolutionProblem& p) {
    return fmt::format("{} {} {}x{}x{}x{} {} {}x{} /{} +{}{}", name_of(p.pass), name_of(p.type), p.n, p.h,
                       p.w, p.c, p.o, p.kernel, p.kernel, p.stride, p.padding, p.accumulate ? " beta" : "");
}

ConvolutionProblem convolution_problem(OpDesc& desc) {
    ConvolutionProblem p;
    p.pass = desc.kind == OpKind::conv2d                 ? Pass::forward
             : desc.kind == OpKind::conv2d_backward_data ? Pass::backward_data
                                                         : Pass::backward_weights;
    p.accumulate = p.pass == Pass::backward_data && desc.accumulate;
    require_operands(desc, p.accumulate ? 3 : 2, 1);
    TensorDesc *x = &desc.inputs[0], *w = &desc.inputs[1], *y = &desc.outputs[0];
    if (p.pass != Pass::forward) std::swap(x, y);
    if (p.pass == Pass::backward_weights) {
        x = &desc.inputs[1];
        w = &desc.outputs[0];
    }
    // What is given decides what is not.
    const bool padded =
        p.pass == Pass::backward_data ? w->layout == Layout::ohwi8i : x->layout == Layout::nhwc8c;
    const std::pair<TensorDesc*, Layout> wanted[] = {{x, padded ? Layout::nhwc8c : Layout::nhwc},
                                                     {w, padded ? Layout::ohwi8i : Layout::ohwi},
                                                     {y, Layout::nhwc}};
    for (const auto& [tensor, layout] : wanted) {
        if (tensor == &desc.outputs[0] && tensor->layout == Layout::any) tensor->layout = layout;
        require(tensor->rank == 4 && tensor->layout == layout && tensor->type == x->type, desc,
                to_string(*tensor) + " is not " + name_of(layout) + " " + name_of(x->type));
    }
    require(
        (*x)[0] == (*y)[0] && (*x)[1] == (*w)[1] && (*y)[1] == (*w)[0], desc,
        "images or channels differ: x " + to_string(*x) + ", w " + to_string(*w) + ", y " + to_string(*y));
    require((*w)[2] == desc.kernel && (*w)[3] == desc.kernel, desc,
            "weights " + to_string(*w) + " are not of the kernel's size");
    p.type = p.output_type = x->type;
    p.n = (*x)[0];
    p.c = x->stored_elements() / ((*x)[0] * (*x)[2] * (*x)[3]);
    p.h = (*x)[2];
    p.w = (*x)[3];
    p.o = (*y)[1];
    p.kernel = desc.kernel;
    p.stride = desc.stride;
    p.padding = desc.padding;
    require(p.h + 2 * p.padding >= p.kernel && p.w + 2 * p.padding >= p.kernel, desc,
            "the window is larger than x " + to_string(*x));
    require((*y)[2] == p.out_h() && (*y)[3] == p.out_w() && p.y_elements() > 0, desc,
            "x " + to_string(*x) + " does not give y " + to_string(*y));
    if (p.accumulate) require_like(desc, desc.inputs[2], desc.outputs[0], "the gradient that is there");
    return p;
}

}  // namespace onecycle
