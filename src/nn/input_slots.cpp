#include "nn/input_slots.h"

#include <cstring>

namespace onecycle {

InputSlots::InputSlots(Device& device, std::size_t image_bytes, int batch, int slots)
    : device_(&device),
      image_bytes_(image_bytes),
      layout_(image_bytes * static_cast<std::size_t>(batch), static_cast<std::size_t>(batch)),
      count_(slots),
      host_(device, layout_.bytes * static_cast<std::size_t>(slots)),
      slots_(device, layout_.bytes * static_cast<std::size_t>(slots)) {
    device.synchronize();  // copies do not wait for the zeros that new memory is filled with
}

void InputSlots::put(std::int64_t number, const std::uint8_t* images, const std::int32_t* labels, int n) {
    const std::size_t at = static_cast<std::size_t>(number % count_) * layout_.bytes;
    const std::size_t rows = static_cast<std::size_t>(n);
    const std::int32_t count = n;
    std::byte* const slot = host_.on_host() + at;
    std::memcpy(slot, images, rows * image_bytes_);
    std::memcpy(slot + layout_.labels, labels, rows * sizeof(std::int32_t));
    std::memcpy(slot + layout_.count, &count, sizeof count);
    device_->copy_ahead(slots_.data() + at, slot, layout_.bytes);
}

}  // namespace onecycle
