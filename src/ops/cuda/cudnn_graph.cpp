#include "ops/cuda/cudnn_graph.h"

#include "ops/cuda/cudnn_descriptor.h"

namespace onecycle::cudnn {

namespace {

cudnnDataType_t data_type(DType type) {
    return type == DType::bf16  ? CUDNN_DATA_BFLOAT16
           : type == DType::f16 ? CUDNN_DATA_HALF
                                : CUDNN_DATA_FLOAT;
}

cudnnPointwiseMode_t mode_of(Pointwise op) {
    switch (op) {
        case Pointwise::add:
            return CUDNN_POINTWISE_ADD;
        case Pointwise::subtract:
            return CUDNN_POINTWISE_SUB;
        case Pointwise::multiply:
            return CUDNN_POINTWISE_MUL;
        case Pointwise::relu:
            return CUDNN_POINTWISE_RELU_FWD;
        case Pointwise::relu_backward:
            break;
    }
    return CUDNN_POINTWISE_RELU_BWD;
}

Part make_window(const Functions& f, const Window& w) {
    auto c = std::make_shared<Descriptor>(f, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const std::vector<std::int64_t> before(2, w.before), behind(2, w.behind), strides(2, w.stride),
        ones(2, 1);
    c->set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    c->set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
    c->set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
    c->set(CUDNN_ATTR_CONVOLUTION_DILATIONS, ones);
    c->set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, strides);
    c->set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, before);
    c->set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, behind);
    c->finalize("convolution");
    return c;
}

Part make_pointwise(const Functions& f, Pointwise op) {
    auto p = std::make_shared<Descriptor>(f, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    p->set(CUDNN_ATTR_POINTWISE_MODE, mode_of(op));
    p->set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    p->finalize("pointwise");
    return p;
}

// The names that one pass has for what all passes have.
struct OperationNames {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t convolution, x, w, y, alpha, beta;
};

OperationNames names_of(Pass pass) {
    switch (pass) {
        case Pass::forward:
            return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
        case Pass::backward_data:
            return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
        case Pass::backward_weights:
            break;
    }
    return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

}  // namespace

Tensor Graph::make_tensor(DType type, const Dims& d, bool is_virtual) {
    auto t = std::make_shared<Descriptor>(target_.functions(), CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const std::int64_t id = next_id_++;
    t->set(CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(type));
    t->set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector<std::int64_t>{d.n, d.c, d.h, d.w});
    t->set(CUDNN_ATTR_TENSOR_STRIDES, std::vector<std::int64_t>{d.h * d.w * d.c, 1, d.w * d.c, d.c});
    t->set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
    t->set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16});
    if (is_virtual) t->set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
    t->finalize("tensor");
    parts_.push_back(t);
    if (!is_virtual) ids_.push_back(id);
    return {d, type, t};
}

Tensor Graph::tensor(DType type, const Dims& dims) {
    return make_tensor(type, dims, false);
}

Tensor Graph::virtual_tensor(DType type, const Dims& dims) {
    return make_tensor(type, dims, true);
}

void Graph::convolution(Pass pass, const Window& window, const Tensor& first, const Tensor& second,
                        const Tensor& out, bool accumulate) {
    const Functions& f = target_.functions();
    const Part made = make_window(f, window);
    const OperationNames names = names_of(pass);
    auto operation = std::make_shared<Descriptor>(f, names.type);
    operation->set(names.x, *(pass == Pass::forward         ? first
                              : pass == Pass::backward_data ? out
                                                            : second)
                                 .descriptor);
    operation->set(names.w, *(pass == Pass::backward_weights ? out : second).descriptor);
    operation->set(names.y, *(pass == Pass::forward ? out : first).descriptor);
    operation->set(names.convolution, *made);
    operation->set(names.alpha, 1.0f);
    operation->set(names.beta, accumulate ? 1.0f : 0.0f);
    operation->finalize("convolution operation");
    parts_.insert(parts_.end(), {made, operation});
    operations_.push_back(operation);
}

void Graph::pointwise(Pointwise op, const Tensor& a, const Tensor& b, const Tensor& out) {
    const Functions& f = target_.functions();
    const Part made = make_pointwise(f, op);
    auto operation = std::make_shared<Descriptor>(f, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation->set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, *made);
    if (op == Pointwise::relu_backward) {
        operation->set(CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, *a.descriptor);
        operation->set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *b.descriptor);
        operation->set(CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, *out.descriptor);
    } else {
        operation->set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *a.descriptor);
        operation->set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b.descriptor);
        operation->set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, *out.descriptor);
    }
    operation->finalize("pointwise operation");
    parts_.insert(parts_.end(), {made, operation});
    operations_.push_back(operation);
}

void Graph::pointwise(Pointwise op, const Tensor& a, const Tensor& out) {
    const Functions& f = target_.functions();
    const Part made = make_pointwise(f, op);
    auto operation = std::make_shared<Descriptor>(f, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation->set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, *made);
    operation->set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *a.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, *out.descriptor);
    operation->finalize("pointwise operation");
    parts_.insert(parts_.end(), {made, operation});
    operations_.push_back(operation);
}

Tensor Graph::virtual_pointwise(Pointwise op, const Tensor& a, const Tensor& b, DType type) {
    const Tensor out = virtual_tensor(type, a.dims);
    pointwise(op, a, b, out);
    return out;
}

void Graph::channel_sums(const Tensor& x, const Tensor& sum, const Tensor& squares) {
    auto operation =
        std::make_shared<Descriptor>(target_.functions(), CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR);
    operation->set(CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_GENSTATS_SUM_SQSUM);
    operation->set(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_DATA_FLOAT);
    operation->set(CUDNN_ATTR_OPERATION_GENSTATS_XDESC, *x.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, *sum.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, *squares.descriptor);
    operation->finalize("channel sums");
    parts_.push_back(operation);
    operations_.push_back(operation);
}

void Graph::channel_sum(const Tensor& x, const Tensor& sum) {
    const Functions& f = target_.functions();
    auto reduction = std::make_shared<Descriptor>(f, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    reduction->set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    reduction->set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_REDUCE_TENSOR_ADD);
    reduction->finalize("reduction");
    auto operation = std::make_shared<Descriptor>(f, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    operation->set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, *reduction);
    operation->set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, *x.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, *sum.descriptor);
    operation->finalize("channel sum");
    parts_.insert(parts_.end(), {reduction, operation});
    operations_.push_back(operation);
}

void Graph::norm_backward_sums(const Tensor& x, const Tensor& dy, const NormSums& s) {
    auto operation =
        std::make_shared<Descriptor>(target_.functions(), CUDNN_BACKEND_OPERATION_BN_BWD_WEIGHTS_DESCRIPTOR);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MATH_PREC, CUDNN_DATA_FLOAT);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_X_DESC, *x.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DY_DESC, *dy.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_MEAN_DESC, *s.mean.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_INVSTD_DESC, *s.inverse_deviation.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_BN_SCALE_DESC, *s.gamma.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_SCALE_DESC, *s.dgamma.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_DBN_BIAS_DESC, *s.dbeta.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_DY_SCALE_DESC, *s.by_dy.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_X_SCALE_DESC, *s.by_x.descriptor);
    operation->set(CUDNN_ATTR_OPERATION_BN_BWD_WEIGHTS_EQ_BIAS, *s.rest.descriptor);
    operation->finalize("norm backward sums");
    parts_.push_back(operation);
    operations_.push_back(operation);
}

Graph convolution_graph(const Target& target, const ConvolutionProblem& p) {
    Graph graph(target);
    const Dims x{p.n, p.c, p.h, p.w}, w{p.o, p.c, p.kernel, p.kernel}, y{p.n, p.o, p.out_h(), p.out_w()};
    const Tensor first = graph.tensor(p.type, p.pass == Pass::forward ? x : y),
                 second = graph.tensor(p.type, p.pass == Pass::backward_weights ? x : w),
                 out = graph.tensor(p.type, p.pass == Pass::forward         ? y
                                            : p.pass == Pass::backward_data ? x
                                                                            : w);
    graph.convolution(p.pass, {p.padding, p.padding, p.stride}, first, second, out, p.accumulate);
    return graph;
}

}  // namespace onecycle::cudnn
