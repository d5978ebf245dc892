// Convolutions by blocked loops on the host, standing where cuDNN and cuBLAS stand on a GPU. Sums
// are f32 and are rounded once, where the libraries round: at the output. Each output element is
// summed in one order that depends on the shape only, so results are equal for any number of
// threads. They are not the libraries' bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ops/cuda/convolution_problem.h"

namespace onecycle {

class HostConvolution {
  public:
    HostConvolution(const ConvolutionProblem& problem, int threads);

    std::size_t workspace() const;  // bytes, 64-byte aligned

    // Inputs in the order of ConvolutionProblem. Computes before it returns.
    void run(const void* first, const void* second, void* out, void* workspace) const;

  private:
    // Pixels of the source that lie side by side in memory: those of one row of the window.
    // Measured from the target pixel's place in the source, in pixels; `tap` is the window's place
    // of the first one, and `tap_step` leads to the next one.
    struct Row {
        std::int64_t y, x, pixels;
        int tap, tap_step;
    };
    // A product of matrices: one row a target pixel, one column a target channel, summed over the
    // rows of the window and the channels of the source. Forward there is one, backward one for
    // each phase of the stride: the taps that meet dx at (y, x) depend on y % stride and x %
    // stride.
    struct Phase {
        std::int64_t y = 0, x = 0;  // of the first target pixel
        std::int64_t height = 0, width = 0;
        std::vector<Row> rows;
        std::int64_t depth = 0;           // length of the sums
        std::int64_t packed_weights = 0;  // where its weights lie in the workspace, in floats
    };
    struct Image {
        std::int64_t height, width, channels;
    };

    void plan_forward();
    void plan_backward_data();
    void pack_weights(const Phase& phase, std::int64_t panel, const void* weights, float* packed) const;
    void gather(const Row& row, const void* source, std::int64_t n, std::int64_t y, std::int64_t x,
                std::int64_t begin, std::int64_t end, float* to) const;
    void run_block(const Phase& phase, std::int64_t first_pixel, std::int64_t pixels,
                   std::int64_t first_panel, std::int64_t panels, const void* source, const float* packed,
                   void* out, float* scratch) const;
    void run_pixels(const void* source, const void* weights, void* out, float* workspace) const;
    void run_weights(const void* dy, const void* x, void* dw, float* workspace) const;

    ConvolutionProblem problem_;
    int threads_;
    Image source_{}, target_{};
    std::int64_t source_step_ = 1, target_step_ = 1;  // from one target pixel to the next, in pixels
    std::vector<Phase> phases_;
    std::int64_t packed_ = 0, scratch_ = 0;  // floats: all weights; one thread's
};

}  // namespace onecycle
