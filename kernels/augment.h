// The training views of a batch, from images that stay in device memory, straight to what the
// network reads.
#pragma once

#include "kernels/cuda.h"
#include "kernels/input.h"
#include "rules/control.h"
#include "rules/resident_image.h"
#include "rules/sample_order.h"
#include "rules/view.h"

namespace onecycle::ONECYCLE_CUDA {

struct AugmentPlan {
    SampleOrder order;
    ViewRule rule;
    int size;          // of a view, square
    int taps;          // the most pixels of an axis that one pixel of a view reads
    int largest_crop;  // the longest side of what a view is made from
};

// Bytes of scratch memory.
std::size_t augment_workspace(const AugmentPlan& plan);

// How many rows of a view a block makes: as many as its shared memory takes. 0: crops are too
// large.
int augment_tile_rows(const AugmentPlan& plan);

// x [batch,size,size,stored], labels [batch], count [1]: the views of micro batch control->micro of
// update control->update, normalised as by normalize_images. The bits of training_view() on the
// CPU, for the same image.
template <typename T>
void augment_images(T* x, std::int32_t* labels, std::int32_t* count,
                    const ResidentImage* table,  // [order.samples], one of them with an image
                    const std::uint8_t* pixels,  // of all images
                    const StepControl* control, void* workspace, const AugmentPlan& plan, int stored_channels,
                    const Normalization& normalization, cudaStream_t stream);

}  // namespace onecycle::ONECYCLE_CUDA
