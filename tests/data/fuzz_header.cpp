// Target of mutate_headers: a file of any bytes is known by its headers alone, or refused. An image, or the
// header of a safetensors file. See tests/mutate.cpp.
#include <cstdint>
#include <cstring>
#include <exception>
#include <string_view>

#include "data/codecs.h"
#include "formats/malformed.h"
#include "formats/safetensors_header.h"

namespace {

constexpr std::uint64_t data_bytes = 74'919;  // of the tensors in reference.safetensors

void read_tensors_header(std::string_view text) {
    using namespace onecycle;
    try {
        const SafetensorsHeader header = parse_header(text, data_bytes);
        std::uint64_t end = 0;
        for (const TensorInfo& tensor : header.tensors) {
            if (tensor.offset != end) std::terminate();
            end += tensor.bytes;
        }
        if (end != data_bytes) std::terminate();
    } catch (const Malformed&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace onecycle;
    if (size > 9 && data[8] == '{') {
        std::uint64_t length = 0;
        std::memcpy(&length, data, sizeof length);
        if (length <= size - 8) read_tensors_header({reinterpret_cast<const char*>(data) + 8, length});
        return 0;
    }
    ImageLimits limits;
    try {
        const ImageProbe probe = probe_bytes({data, size}, limits);  // probe_image would throw twice
        if (probe.width < 1 || probe.height < 1 || probe.width > limits.max_side ||
            probe.height > limits.max_side || std::int64_t{probe.width} * probe.height > limits.max_pixels)
            std::terminate();
    } catch (const DecodeError&) {
    }
    return 0;
}
