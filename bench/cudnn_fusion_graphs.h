// The graphs that cuDNN may compute by one kernel and that a ResNet has, for bench_fusions and for
// the test of what cuDNN offers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ops/cuda/cudnn_graph.h"

namespace onecycle::fusions {

// A square convolution; padding before and behind.
struct Shape {
    std::int64_t n, c, h, k, r, stride, before, behind;
    std::int64_t out() const { return (h + before + behind - r) / stride + 1; }
};

// A graph with its tensors in the order in which a plan takes them.
struct Built {
    cudnn::Graph graph;
    std::vector<cudnn::Tensor> tensors;
    std::vector<std::size_t> outputs;  // which of them are written
};

// Norm: the scale, bias and ReLU of a batch norm, in front of a convolution. Sums: those that a
// batch norm takes of a convolution's output, or its gradient of the data gradient.
enum class Kind : std::uint8_t {
    forward,
    data_gradient,
    weight_gradient,
    forward_sums,
    forward_one_sum,
    norm_forward_sums,
    data_gradient_norm,      // dReLU by the mask of bn(x), sums of dgamma and dbeta
    data_gradient_add_norm,  // the gradient of a residual is added first, and the mask is of bn(x) + residual
    norm_weight_gradient,
};
std::string name_of(Kind kind);
// The convolution without what is fused.
Kind plain(Kind kind);
// Bytes that kernels of their own move for what is fused: what the fusion saves.
double bytes_beside(Kind kind, const Shape& shape, DType type);

// Throws Error(device) where cuDNN refuses the graph.
Built build(const cudnn::Target& target, Kind kind, const Shape& shape, DType type);

// ResNet34's convolutions but the stem, without repetitions, for 224 x 224 images.
std::vector<Shape> resnet34(std::int64_t n);
// The stem with its channels padded to eight, and as space to depth: blocks of 2 x 2 pixels become
// 16 channels.
Shape stem(std::int64_t n);
Shape stem_space_to_depth(std::int64_t n);

}  // namespace onecycle::fusions
