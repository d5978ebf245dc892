// Graphs of operations that cuDNN may compute by one kernel: a convolution, and what stands before
// and behind it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cuda/cudnn.h"

namespace onecycle::cudnn {

struct Dims {
    std::int64_t n, c, h, w;
};

// [n,c,h,w] with channels last.
struct Tensor {
    Dims dims;
    DType type;
    std::shared_ptr<const Descriptor> descriptor;
};

// Padding before and behind, and stride, of height and width alike.
struct Window {
    std::int64_t before, behind, stride;
};

enum class Pointwise : std::uint8_t { add, subtract, multiply, relu, relu_backward };

class Graph {
  public:
    explicit Graph(const Target& target) : target_(target) {}

    // In memory; Plan::run takes these in the order in which they were made.
    Tensor tensor(DType type, const Dims& dims);
    // Of values that only the graph sees.
    Tensor virtual_tensor(DType type, const Dims& dims);

    // Operands in the order of ConvolutionProblem; `accumulate`: out += instead of out =.
    void convolution(Pass pass, const Window& window, const Tensor& first, const Tensor& second,
                     const Tensor& out, bool accumulate = false);
    // Arithmetic is f32. relu has one operand; relu_backward takes the gradient, then the ReLU's
    // input.
    void pointwise(Pointwise op, const Tensor& a, const Tensor& b, const Tensor& out);
    void pointwise(Pointwise op, const Tensor& a, const Tensor& out);
    // The same, of virtual values.
    Tensor virtual_pointwise(Pointwise op, const Tensor& a, const Tensor& b, DType type = DType::f32);
    // Sums over n, h, w: of x, and of its squares. sum, squares: [1,c,1,1] f32.
    void channel_sums(const Tensor& x, const Tensor& sum, const Tensor& squares);
    // One sum as a reduction.
    void channel_sum(const Tensor& x, const Tensor& sum);
    // What batch norm's gradient needs of x and dy: dgamma, dbeta, and factors with which
    // dx = by_dy dy + by_x x + rest. All but x and dy are [1,c,1,1] f32.
    struct NormSums {
        Tensor mean, inverse_deviation, gamma;    // given
        Tensor dgamma, dbeta, by_dy, by_x, rest;  // made
    };
    void norm_backward_sums(const Tensor& x, const Tensor& dy, const NormSums& sums);

    // For the Finder.
    const std::vector<std::int64_t>& ids() const { return ids_; }
    const std::vector<std::shared_ptr<const Descriptor>>& parts() const { return parts_; }
    const std::vector<std::shared_ptr<const Descriptor>>& operations() const { return operations_; }

  private:
    Tensor make_tensor(DType type, const Dims& dims, bool is_virtual);

    Target target_;
    std::int64_t next_id_ = 1;
    std::vector<std::int64_t> ids_;
    std::vector<std::shared_ptr<const Descriptor>> parts_, operations_;  // the operations are parts, too
};

Graph convolution_graph(const Target& target, const ConvolutionProblem& problem);

}  // namespace onecycle::cudnn
