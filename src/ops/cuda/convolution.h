// The seam between operations and what computes their products: cuDNN and cuBLAS on a GPU
// (cudnn_convolution.cpp, cublas.cpp), loops on the host under emulation (emulated_products.cpp).
#pragma once

#include <functional>
#include <string>

#include "ops/cuda/builders.h"
#include "ops/cuda/convolution_problem.h"

namespace onecycle::ONECYCLE_CUDA {

struct PlannedProduct {
    std::string implementation;
    std::size_t workspace = 0;  // bytes
    // Puts the work on the stream. Inputs in the order of ConvolutionProblem.
    std::function<void(const void* first, const void* second, void* out, void* workspace, cudaStream_t)> run;
};

PlannedProduct plan_convolution(const ConvolutionProblem& problem, const Context& context);

// By our own kernel, which needs no library and takes any size; slow.
PlannedProduct plan_direct_convolution(const ConvolutionProblem& problem);

// Products of [N,C], [O,C] and [N,O], as a problem of 1 x 1 images and kernels says.
PlannedProduct plan_matrix_product(const ConvolutionProblem& problem, const Context& context);

}  // namespace onecycle::ONECYCLE_CUDA
