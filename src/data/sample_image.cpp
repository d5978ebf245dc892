#include "data/sample_image.h"

#include <algorithm>

#include "data/codecs.h"
#include "data/image_place.h"

namespace onecycle {

namespace {

[[noreturn]] void refuse_changed() {
    throw DecodeError("changed since the list of files was made");
}

// The check has applied the user's limits: what it measured is allowed.
ImageLimits limits_of(const Sample& sample) {
    return limits_with(std::max(ImageLimits{}.max_pixels, std::int64_t{sample.width} * sample.height));
}

}  // namespace

std::int64_t check_file_of(const Sample& sample) {
    return named(sample.path(), [&] {
        const OpenImage file(sample.place);
        if (file.bytes() != sample.bytes) refuse_changed();
        return file.changed();
    });
}

std::vector<std::uint8_t> read_sample(const Sample& sample) {
    return named(sample.path(), [&] {
        std::vector<std::uint8_t> bytes = OpenImage(sample.place).read(limits_of(sample).max_file_bytes);
        if (bytes.size() != sample.bytes || (sample.content != 0 && content_hash(bytes) != sample.content))
            refuse_changed();
        return bytes;
    });
}

Image decode_sample(const Sample& sample, int min_short_side, const std::shared_ptr<DecodeBudget>& budget) {
    DecodeOptions decode;
    decode.min_short_side = min_short_side;
    decode.limits = limits_of(sample);
    decode.limits.memory = budget;
    return decode_image(read_sample(sample), sample.path(), decode);
}

}  // namespace onecycle
