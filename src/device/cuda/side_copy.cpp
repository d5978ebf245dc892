#include "device/cuda/side_copy.h"

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr std::size_t alignment = 64;

}  // namespace

CudaSideCopy::CudaSideCopy(Device& device, int index, cudaStream_t main, int priority,
                           const std::vector<Piece>& pieces)
    : index_(index), main_(main), pieces_(pieces) {
    std::size_t bytes = 0;
    for (const Piece& piece : pieces) {
        offsets_.push_back(bytes);
        bytes += (piece.bytes + alignment - 1) / alignment * alignment;
    }
    on_device_ = DeviceMemory(device, bytes);
    side_ = make_stream(priority);
    taken_ = make_event();
    arrived_ = make_event();
    void* memory = nullptr;
    ONECYCLE_CALL_CUDA(cudaHostAlloc, &memory, bytes, 0u);
    on_host_ = static_cast<std::byte*>(memory);
}

CudaSideCopy::~CudaSideCopy() {
    ONECYCLE_CLOSE_CUDA(cudaSetDevice, index_);
    ONECYCLE_CLOSE_CUDA(cudaStreamSynchronize, side_.get());
    ONECYCLE_CLOSE_CUDA(cudaFreeHost, on_host_);
}

void CudaSideCopy::begin() {
    make_current(index_);
    // An event that was never recorded is one that has happened.
    ONECYCLE_CALL_CUDA(cudaStreamWaitEvent, main_, arrived_.get(), 0u);
    for (std::size_t i = 0; i < pieces_.size(); ++i)
        if (pieces_[i].bytes)
            ONECYCLE_CALL_CUDA(cudaMemcpyAsync, on_device_.data() + offsets_[i], pieces_[i].from,
                               pieces_[i].bytes, cudaMemcpyDeviceToDevice, main_);
    ONECYCLE_CALL_CUDA(cudaEventRecord, taken_.get(), main_);
    ONECYCLE_CALL_CUDA(cudaStreamWaitEvent, side_.get(), taken_.get(), 0u);
    ONECYCLE_CALL_CUDA(cudaMemcpyAsync, on_host_, on_device_.data(), on_device_.size(),
                       cudaMemcpyDeviceToHost, side_.get());
    ONECYCLE_CALL_CUDA(cudaEventRecord, arrived_.get(), side_.get());
}

void CudaSideCopy::wait() {
    make_current(index_);
    ONECYCLE_CALL_CUDA(cudaEventSynchronize, arrived_.get());
}

}  // namespace onecycle::ONECYCLE_CUDA
