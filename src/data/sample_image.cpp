#include "data/sample_image.h"

namespace onecycle {

Image decode_sample(const Sample& sample, int min_short_side) {
    const std::vector<std::uint8_t> bytes = read_image_bytes(sample.path);
    if (bytes.size() != sample.bytes)
        throw ImageError(sample.path, "changed since the list of files was made");
    DecodeOptions decode;
    decode.min_short_side = min_short_side;
    return decode_image(bytes, sample.path, decode);
}

}  // namespace onecycle
