// A step's data between the devices of the ranks, in stream order: NCCL on GPUs, captured in the
// step's graph; on the emulator the communicator of the host in its place.
#pragma once

#include <cstddef>
#include <memory>

#include "device/communicator.h"
#include "device/cuda/runtime.h"

namespace onecycle::ONECYCLE_CUDA {

// Ranks put the calls that they share on their streams in the same order: within a step, those of
// one branch. The emulator's work runs when the host waits for it or asks after it: synchronize before a
// call of the host's communicator, or one rank waits inside a step for another that is not in it.
class DeviceCommunicator {
  public:
    // Makes a communicator of the current GPU with those of the other ranks; `ranks` must outlive
    // it. Throws Error(device) where NCCL is not here or cannot reach the others.
    explicit DeviceCommunicator(Communicator& ranks);
    ~DeviceCommunicator();  // all its work must be done
    DeviceCommunicator(const DeviceCommunicator&) = delete;
    DeviceCommunicator& operator=(const DeviceCommunicator&) = delete;

    // As those of Communicator, of which the members alone put the call on a stream.
    void scatter(cudaStream_t stream, const std::byte* from, std::byte* to, const Partition& exchange);
    void gather(cudaStream_t stream, std::byte* buffer, const Partition& exchange);

    const RankPlace& place() const;

  private:
    struct Implementation;
    std::unique_ptr<Implementation> parts_;
};

// Throws Error(device) with what NCCL says of work that failed in this process, and ends the
// communicator's work then: nothing that waits for a lost rank stays on the GPU. Does not wait;
// Device::busy() asks this.
void check_collectives();

}  // namespace onecycle::ONECYCLE_CUDA
