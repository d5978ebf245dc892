#include "data/sample_image.h"

#include <algorithm>

#include "data/codecs.h"
#include "data/image_place.h"

namespace onecycle {

namespace {

[[noreturn]] void refuse_changed() {
    throw DecodeError("changed since the list of files was made");
}

}  // namespace

std::int64_t check_file_of(const Sample& sample) {
    return named(sample.path(), [&] {
        const OpenImage file(sample.place);
        if (file.bytes() != sample.bytes) refuse_changed();
        return file.changed();
    });
}

Image decode_sample(const Sample& sample, int min_short_side) {
    DecodeOptions decode;
    decode.min_short_side = min_short_side;
    // The check has applied the user's limits: what it measured is allowed.
    decode.limits =
        limits_with(std::max(decode.limits.max_pixels, std::int64_t{sample.width} * sample.height));
    const std::string path = sample.path();
    const std::vector<std::uint8_t> bytes = named(path, [&] {
        std::vector<std::uint8_t> read = OpenImage(sample.place).read(decode.limits.max_file_bytes);
        if (read.size() != sample.bytes || (sample.content != 0 && content_hash(read) != sample.content))
            refuse_changed();
        return read;
    });
    return decode_image(bytes, path, decode);
}

}  // namespace onecycle
