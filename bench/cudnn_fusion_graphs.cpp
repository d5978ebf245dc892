#include "cudnn_fusion_graphs.h"

namespace onecycle::fusions {

namespace {

using cudnn::Dims;
using cudnn::Graph;
using cudnn::Pointwise;
using cudnn::Tensor;

// Collects tensors in memory in the order in which the graph numbers them.
class Builder {
  public:
    Builder(const cudnn::Target& target, const Shape& shape, DType type)
        : built_{Graph(target), {}, {}}, shape_(shape), type_(type) {}

    Graph& graph() { return built_.graph; }
    Tensor input(DType type, const Dims& dims) {
        built_.tensors.push_back(graph().tensor(type, dims));
        return built_.tensors.back();
    }
    Tensor output(DType type, const Dims& dims) {
        built_.outputs.push_back(built_.tensors.size());
        return input(type, dims);
    }
    Tensor input(const Dims& dims) { return input(type_, dims); }
    Tensor output(const Dims& dims) { return output(type_, dims); }

    Dims x() const { return {shape_.n, shape_.c, shape_.h, shape_.h}; }
    Dims w() const { return {shape_.k, shape_.c, shape_.r, shape_.r}; }
    Dims y() const { return {shape_.n, shape_.k, shape_.out(), shape_.out()}; }
    Dims of_x() const { return {1, shape_.c, 1, 1}; }  // a number a channel
    Dims of_y() const { return {1, shape_.k, 1, 1}; }

    void convolution(Pass pass, const Tensor& first, const Tensor& second, const Tensor& out) {
        graph().convolution(pass, {shape_.before, shape_.behind, shape_.stride}, first, second, out);
    }
    // max(0, scale x + bias). cuDNN has kernels for scale and bias of 16 bits only.
    Tensor norm(const Tensor& x) {
        const Tensor scale = input(of_x()), bias = input(of_x());
        const Tensor scaled = graph().virtual_pointwise(Pointwise::multiply, x, scale);
        const Tensor shifted = graph().virtual_pointwise(Pointwise::add, scaled, bias);
        const Tensor positive = graph().virtual_tensor(DType::f32, x.dims);
        graph().pointwise(Pointwise::relu, shifted, positive);
        return positive;
    }
    void sums(const Tensor& y) {
        const Tensor sum = output(DType::f32, of_y());
        graph().channel_sums(y, sum, output(DType::f32, of_y()));
    }
    // The gradient of the data in f32, then what a batch norm's gradient begins with.
    void data_gradient_norm(bool with_residual) {
        const Tensor w = input(this->w()), dy = input(y());
        Tensor gradient = graph().virtual_tensor(DType::f32, x());
        convolution(Pass::backward_data, dy, w, gradient);
        if (with_residual) gradient = graph().virtual_pointwise(Pointwise::add, gradient, input(x()));
        const Tensor x = input(this->x());
        cudnn::Graph::NormSums s;
        for (Tensor* given : {&s.mean, &s.inverse_deviation, &s.gamma}) *given = input(DType::f32, of_x());
        const Tensor beta = input(DType::f32, of_x());
        Tensor normalized = graph().virtual_pointwise(Pointwise::subtract, x, s.mean);
        normalized = graph().virtual_pointwise(Pointwise::multiply, normalized, s.inverse_deviation);
        normalized = graph().virtual_pointwise(Pointwise::multiply, normalized, s.gamma);
        normalized = graph().virtual_pointwise(Pointwise::add, normalized, beta);
        if (with_residual)
            normalized = graph().virtual_pointwise(Pointwise::add, normalized, input(this->x()));
        const Tensor masked = output(this->x());
        graph().pointwise(Pointwise::relu_backward, gradient, normalized, masked);
        for (Tensor* made : {&s.dgamma, &s.dbeta, &s.by_dy, &s.by_x, &s.rest})
            *made = output(DType::f32, of_x());
        graph().norm_backward_sums(x, masked, s);
    }

    Built take() { return std::move(built_); }

  private:
    Built built_;
    Shape shape_;
    DType type_;
};

}  // namespace

std::string name_of(Kind kind) {
    switch (kind) {
        case Kind::forward:
            return "forward";
        case Kind::data_gradient:
            return "data_gradient";
        case Kind::weight_gradient:
            return "weight_gradient";
        case Kind::forward_sums:
            return "forward+sums";
        case Kind::forward_one_sum:
            return "forward+one_sum";
        case Kind::norm_forward_sums:
            return "norm+forward+sums";
        case Kind::data_gradient_norm:
            return "data_gradient+norm_sums";
        case Kind::data_gradient_add_norm:
            return "data_gradient+add+norm_sums";
        case Kind::norm_weight_gradient:
            return "norm+weight_gradient";
    }
    return "?";
}

Kind plain(Kind kind) {
    switch (kind) {
        case Kind::data_gradient:
        case Kind::data_gradient_norm:
        case Kind::data_gradient_add_norm:
            return Kind::data_gradient;
        case Kind::weight_gradient:
        case Kind::norm_weight_gradient:
            return Kind::weight_gradient;
        default:
            return Kind::forward;
    }
}

double bytes_beside(Kind kind, const Shape& s, DType type) {
    const auto size = static_cast<double>(size_of(type));
    const double x = size * static_cast<double>(s.n * s.c * s.h * s.h),
                 y = size * static_cast<double>(s.n * s.k * s.out() * s.out());
    switch (kind) {
        case Kind::forward_sums:
        case Kind::forward_one_sum:
            return y;  // read for the statistics
        case Kind::norm_forward_sums:
            return 2 * x + y;  // x normalised and stored first
        case Kind::data_gradient_norm:
            return 2 * x;  // the gradient and x
        case Kind::data_gradient_add_norm:
            return 5 * x;  // both gradients, x and y read, the masked gradient written
        default:
            return 0;
    }
}

Built build(const cudnn::Target& target, Kind kind, const Shape& shape, DType type) {
    Builder b(target, shape, type);
    switch (kind) {
        case Kind::forward:
        case Kind::forward_sums:
        case Kind::forward_one_sum: {
            const Tensor x = b.input(b.x()), w = b.input(b.w()), y = b.output(b.y());
            b.convolution(Pass::forward, x, w, y);
            if (kind == Kind::forward_sums) b.sums(y);
            if (kind == Kind::forward_one_sum) b.graph().channel_sum(y, b.output(DType::f32, b.of_y()));
            break;
        }
        case Kind::norm_forward_sums: {
            const Tensor x = b.input(b.x()), w = b.input(b.w()), y = b.output(b.y());
            b.convolution(Pass::forward, b.norm(x), w, y);
            b.sums(y);
            break;
        }
        case Kind::data_gradient: {
            const Tensor dy = b.input(b.y()), w = b.input(b.w()), dx = b.output(b.x());
            b.convolution(Pass::backward_data, dy, w, dx);
            break;
        }
        case Kind::data_gradient_norm:
        case Kind::data_gradient_add_norm:
            b.data_gradient_norm(kind == Kind::data_gradient_add_norm);
            break;
        case Kind::weight_gradient:
        case Kind::norm_weight_gradient: {
            const Tensor dy = b.input(b.y()), x = b.input(b.x()), dw = b.output(b.w());
            b.convolution(Pass::backward_weights, dy, kind == Kind::weight_gradient ? x : b.norm(x), dw);
            break;
        }
    }
    return b.take();
}

std::vector<Shape> resnet34(std::int64_t n) {
    return {{n, 64, 56, 64, 3, 1, 1, 1},   {n, 64, 56, 128, 3, 2, 1, 1},  {n, 128, 28, 128, 3, 1, 1, 1},
            {n, 64, 56, 128, 1, 2, 0, 0},  {n, 128, 28, 256, 3, 2, 1, 1}, {n, 256, 14, 256, 3, 1, 1, 1},
            {n, 128, 28, 256, 1, 2, 0, 0}, {n, 256, 14, 512, 3, 2, 1, 1}, {n, 512, 7, 512, 3, 1, 1, 1},
            {n, 256, 14, 512, 1, 2, 0, 0}};
}

Shape stem(std::int64_t n) {
    return {n, 8, 224, 64, 7, 2, 3, 3};
}

Shape stem_space_to_depth(std::int64_t n) {
    return {n, 16, 112, 64, 4, 1, 2, 1};
}

}  // namespace onecycle::fusions
