// The stem: batch norm, ReLU and max pool together; the normalized tensor is never in memory. See
// batch_norm.h and pool.h. Always a kernel for each pass: the stem's tensor is the largest of a
// network. Workspaces are those of batch_norm and batch_norm_backward over the rows of x.
#pragma once

#include "kernels/batch_norm_backward.h"
#include "kernels/pool.h"

namespace onecycle::ONECYCLE_CUDA {

// y = max_pool(max(0, bn(x))), index = the maximum's place in its window. batch.rows = N*H*W.
template <typename T>
void batch_norm_max_pool(T* y, std::uint8_t* index, const NormOperands<T>& norm, const BatchNormShape& batch,
                         const PoolShape& pool, void* workspace, cudaStream_t stream);

// Of dy + dy2 [N,OH,OW,C]; dy2 may be null. The ReLU's mask is computed again from x.
template <typename T>
void batch_norm_max_pool_backward(const NormGradient<T>& norm, const T* dy, const T* dy2,
                                  const std::uint8_t* index, const BatchNormShape& batch,
                                  const PoolShape& pool, void* workspace, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
