// The classifier: y = x w^T + b with x [N,K], w [O,K], and its gradients. Products by cuBLAS, sums
// and the bias by kernels. Logits and the gradients of parameters are f32 whatever the type of x
// and w; a hidden layer's y has theirs.
#include "kernels/linear.h"

#include "ops/cuda/convolution.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

ConvolutionProblem product(Pass pass, DType type, DType output_type, std::int64_t n, std::int64_t k,
                           std::int64_t o) {
    return {.pass = pass, .type = type, .output_type = output_type, .n = n, .c = k, .o = o};
}

void require_matrix(const OpDesc& desc, const TensorDesc& t, std::initializer_list<std::int64_t> shape,
                    DType type, const std::string& name) {
    require_like(desc, t, TensorDesc(shape, Layout::plain, type), name);
}

// A gradient dy that is rounded to the type of the matrix it meets, where it has another one. It
// then lies behind the product's own workspace.
class Rounded {
  public:
    Rounded(const OpDesc& desc, const TensorDesc& dy, DType wanted, std::size_t offset)
        : elements_(dy.elements()), offset_(aligned(offset)) {
        if (dy.type == wanted) return;
        bytes_ = aligned(static_cast<std::size_t>(elements_) * size_of(wanted));
        with_float_type(desc, dy.type, [&]<typename From>() {
            with_float_type(desc, wanted, [&]<typename To>() {
                convert_ = [](void* to, const void* from, std::int64_t n, cudaStream_t stream) {
                    convert(static_cast<To*>(to), static_cast<const From*>(from), n, stream);
                };
            });
        });
    }
    std::size_t workspace() const { return offset_ + bytes_; }
    const void* operator()(const void* dy, void* workspace, cudaStream_t stream) const {
        if (!convert_) return dy;
        void* const to = static_cast<std::byte*>(workspace) + offset_;
        convert_(to, dy, elements_, stream);
        return to;
    }

  private:
    std::int64_t elements_;
    std::size_t offset_, bytes_ = 0;
    void (*convert_)(void*, const void*, std::int64_t, cudaStream_t) = nullptr;
};

template <typename F>
BuiltOp made_with(const OpDesc& desc, const PlannedProduct& planned, std::size_t workspace, F function) {
    BuiltOp made = op_from(desc, workspace, std::move(function));
    made.implementation = planned.implementation;
    return made;
}

}  // namespace

BuiltOp make_linear(const OpDesc& given, const Context& context) {
    const bool bias = given.bias;
    require_operands(given, bias ? 3 : 2, 1);
    OpDesc desc = given;
    adopt_layout(desc, 0, Layout::plain);
    const std::int64_t n = desc.inputs[0][0], k = desc.inputs[0][1], o = desc.inputs[1][0];
    const DType type = desc.inputs[0].type;
    require_matrix(desc, desc.inputs[0], {n, k}, type, "x");
    require_matrix(desc, desc.inputs[1], {o, k}, type, "w");
    if (bias) require_plain(desc, desc.inputs[2], {o}, "b");
    const DType output_type = desc.outputs[0].type;
    require_matrix(desc, desc.outputs[0], {n, o}, output_type, "y");
    require(output_type == DType::f32 || output_type == type, desc, "y has neither the type of x nor f32");
    const PlannedProduct y = plan_matrix_product(product(Pass::forward, type, output_type, n, k, o), context);
    return with_float_type(desc, output_type, [&]<typename T>() {
        return made_with(desc, y, y.workspace,
                         [=](void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                             y.run(in[0], in[1], out[0], workspace, stream);
                             if (bias)
                                 add_bias(output<T>(out, 0), output<T>(out, 0), input<float>(in, 2), n, o,
                                          stream);
                         });
    });
}

BuiltOp make_linear_backward_data(const OpDesc& given, const Context& context) {
    require_operands(given, 2, 1);
    OpDesc desc = given;
    adopt_layout(desc, 0, Layout::plain);
    const std::int64_t n = desc.inputs[0][0], o = desc.inputs[0][1], k = desc.inputs[1][1];
    const DType type = desc.inputs[1].type, output_type = desc.outputs[0].type;
    require_matrix(desc, desc.inputs[0], {n, o}, desc.inputs[0].type, "dy");
    require_matrix(desc, desc.inputs[1], {o, k}, type, "w");
    require_matrix(desc, desc.outputs[0], {n, k}, output_type, "dx");
    require(output_type == type || output_type == DType::f32, desc, "dx has neither the type of w nor f32");
    const PlannedProduct dx =
        plan_matrix_product(product(Pass::backward_data, type, output_type, n, k, o), context);
    const Rounded rounded(desc, desc.inputs[0], type, dx.workspace);
    return made_with(desc, dx, rounded.workspace(),
                     [=](void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                         dx.run(rounded(in[0], workspace, stream), in[1], out[0], workspace, stream);
                     });
}

BuiltOp make_linear_backward_weights(const OpDesc& given, const Context& context) {
    const bool bias = given.bias;
    require_operands(given, 2, bias ? 2 : 1);
    OpDesc desc = given;
    for (std::size_t i = 0; i < desc.outputs.size(); ++i) adopt_layout(desc, i, Layout::plain);
    const std::int64_t n = desc.inputs[0][0], o = desc.inputs[0][1], k = desc.inputs[1][1];
    const DType type = desc.inputs[1].type;
    require_matrix(desc, desc.inputs[0], {n, o}, desc.inputs[0].type, "dy");
    require_matrix(desc, desc.inputs[1], {n, k}, type, "x");
    require_plain(desc, desc.outputs[0], {o, k}, "dw");
    if (bias) require_plain(desc, desc.outputs[1], {o}, "db");
    const PlannedProduct dw =
        plan_matrix_product(product(Pass::backward_weights, type, DType::f32, n, k, o), context);
    const Rounded rounded(desc, desc.inputs[0], type, dw.workspace);
    return with_float_type(desc, desc.inputs[0].type, [&]<typename T>() {
        return made_with(desc, dw, rounded.workspace(),
                         [=](void* const* in, void* const* out, void* workspace, cudaStream_t stream) {
                             dw.run(rounded(in[0], workspace, stream), in[1], out[0], workspace, stream);
                             if (bias) bias_gradient(output<float>(out, 1), input<T>(in, 0), n, o, stream);
                         });
    });
}

}  // namespace onecycle::ONECYCLE_CUDA
