#include "device/device.h"

#include <chrono>
#include <utility>

namespace onecycle {

DeviceMemory::DeviceMemory(Device& device, std::size_t bytes)
    : device_(&device), data_(bytes ? device.allocate(bytes) : nullptr), bytes_(bytes) {}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : device_(other.device_),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

DeviceMemory::~DeviceMemory() {
    if (data_) device_->release(data_);
}

std::vector<double> Device::seconds(const std::vector<std::function<void(Stream&)>>& pieces) {
    std::vector<double> times;
    synchronize();
    for (const auto& piece : pieces) {
        const auto start = std::chrono::steady_clock::now();
        piece(stream());
        synchronize();
        times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return times;
}

SharedMemory::SharedMemory(Device& device, std::size_t bytes) : device_(&device), bytes_(bytes) {
    if (bytes == 0) return;
    const Device::SharedPointers memory = device.allocate_shared(bytes);
    on_host_ = memory.on_host;
    on_device_ = memory.on_device;
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept {
    *this = std::move(other);
}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(on_host_, other.on_host_);
    std::swap(on_device_, other.on_device_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

SharedMemory::~SharedMemory() {
    if (on_host_) device_->release_shared(on_host_);
}

}  // namespace onecycle
