// The CUDA device: memory, copies, streams and captured graphs.
#include "device/device.h"

#include <cstdlib>
#include <cstring>

#include "device/cuda/stream.h"
#include "onecycle/error.h"

namespace onecycle {

namespace ONECYCLE_CUDA {

void check(cudaError_t error, const char* what) {
    if (error != cudaSuccess) throw Error(ErrorKind::device, "a CUDA call failed", what, "");
}

namespace {

class EagerLaunchable final : public Launchable {
  public:
    EagerLaunchable(Device& device, std::vector<Work> step)
        : stream_(device, nullptr), step_(std::move(step)) {}
    void launch() override {
        for (Work& work : step_) work.run(stream_);
    }

  private:
    CudaStream stream_;
    std::vector<Work> step_;
};

class CudaDevice final : public Device {
  public:
    DeviceKind kind() const override { return DeviceKind::emulated; }
    std::string name() const override { return "emulated"; }
    std::byte* allocate(std::size_t bytes) override {
        auto* memory = static_cast<std::byte*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
        std::memset(memory, 0, bytes);
        return memory;
    }
    void release(std::byte* memory) noexcept override { std::free(memory); }
    void copy_in(std::byte* to, const void* from_host, std::size_t bytes) override {
        std::memcpy(to, from_host, bytes);
    }
    void copy_out(void* to_host, const std::byte* from, std::size_t bytes) override {
        std::memcpy(to_host, from, bytes);
    }
    void copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
        std::memcpy(to, from, bytes);
    }
    std::unique_ptr<Launchable> prepare(std::vector<Work> step) override {
        return std::make_unique<EagerLaunchable>(*this, std::move(step));
    }
    void synchronize() override {}
};

}  // namespace

}  // namespace ONECYCLE_CUDA

#if defined(ONECYCLE_EMULATED)
std::unique_ptr<Device> make_emulated_device() {
    return std::make_unique<emulated::CudaDevice>();
}
#endif

}  // namespace onecycle
