// The part of the CUDA runtime's interface that we use, emulated. Names and meanings are CUDA's.
#pragma once

#include <functional>

#include "device/emulated/block.h"

namespace onecycle::emulated {

enum cudaError_t : int { cudaSuccess = 0 };

struct StreamState;
using cudaStream_t = StreamState*;

// Runs a kernel on a stream; on the default stream (null) at once.
void enqueue_grid(const Grid& grid, std::function<void()> body, cudaStream_t stream);

// Puts work of the host on a stream, as enqueue_grid does with a kernel.
cudaError_t enqueue(std::function<void()> work, cudaStream_t stream);

}  // namespace onecycle::emulated
