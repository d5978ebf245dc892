#include "device/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace onecycle::ONECYCLE_CUDA {

namespace {

constexpr std::size_t most_in_use = 256;  // copies on their way

}  // namespace

Staging::Staging(cudaStream_t stream, std::size_t ring_bytes) : stream_(stream), ring_bytes_(ring_bytes) {}

Staging::~Staging() {
    if (ring_) ONECYCLE_CLOSE_CUDA(cudaFreeHost, ring_);
}

void Staging::copy_in(std::byte* to, const void* from_host, std::size_t bytes) {
    const auto* from = static_cast<const std::byte*>(from_host);
    while (bytes > 0) {
        const std::size_t part = std::min(bytes, ring_bytes_ / 4);
        std::byte* const pinned = take(part);
        std::memcpy(pinned, from, part);
        ONECYCLE_CALL_CUDA(cudaMemcpyAsync, to, pinned, part, cudaMemcpyHostToDevice, stream_);
        Event sent;
        if (spare_.empty()) {
            sent = make_event();
        } else {
            sent = std::move(spare_.back());
            spare_.pop_back();
        }
        ONECYCLE_CALL_CUDA(cudaEventRecord, sent.get(), stream_);
        const auto begin = static_cast<std::size_t>(pinned - ring_);
        in_use_.push_back({begin, begin + part, std::move(sent)});
        to += part;
        from += part;
        bytes -= part;
    }
}

void Staging::copy_out(void* to_host, const std::byte* from, std::size_t bytes) {
    auto* to = static_cast<std::byte*>(to_host);
    while (bytes > 0) {
        const std::size_t part = std::min(bytes, ring_bytes_ / 4);
        std::byte* const pinned = take(part);
        ONECYCLE_CALL_CUDA(cudaMemcpyAsync, pinned, from, part, cudaMemcpyDeviceToHost, stream_);
        ONECYCLE_CALL_CUDA(cudaStreamSynchronize, stream_);
        std::memcpy(to, pinned, part);
        to += part;
        from += part;
        bytes -= part;
    }
}

std::byte* Staging::take(std::size_t bytes) {
    if (!ring_) {
        void* memory = nullptr;
        ONECYCLE_CALL_CUDA(cudaHostAlloc, &memory, ring_bytes_, 0u);
        ring_ = static_cast<std::byte*>(memory);
    }
    if (next_ + bytes > ring_bytes_) next_ = 0;
    const std::size_t begin = next_, end = next_ + bytes;
    const auto overlaps = [&](const InUse& part) { return part.begin < end && begin < part.end; };
    while (in_use_.size() >= most_in_use || std::any_of(in_use_.begin(), in_use_.end(), overlaps))
        wait_for_oldest();
    next_ = (end + 255) / 256 * 256;
    return ring_ + begin;
}

void Staging::wait_for_oldest() {
    InUse oldest = std::move(in_use_.front());
    in_use_.pop_front();
    const cudaError_t state = ONECYCLE_TRY_CUDA(cudaEventQuery, oldest.sent.get());
    if (state == cudaErrorNotReady) {
        ONECYCLE_TRY_CUDA(cudaGetLastError);  // "not ready" is no error to keep
        ONECYCLE_CALL_CUDA(cudaEventSynchronize, oldest.sent.get());
    } else {
        check(state, "cudaEventQuery");
    }
    spare_.push_back(std::move(oldest.sent));
}

}  // namespace onecycle::ONECYCLE_CUDA
