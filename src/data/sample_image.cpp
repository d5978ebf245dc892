#include "data/sample_image.h"

#include <algorithm>

namespace onecycle {

namespace {

[[noreturn]] void refuse_changed(const Sample& sample) {
    throw ImageError(sample.path, "changed since the list of files was made");
}

}  // namespace

std::int64_t check_file_of(const Sample& sample) {
    const ImageFileStatus status = image_file_status(sample.path);
    if (status.bytes != sample.bytes) refuse_changed(sample);
    return status.changed;
}

Image decode_sample(const Sample& sample, int min_short_side, const std::shared_ptr<DecodeBudget>& budget) {
    DecodeOptions decode;
    decode.min_short_side = min_short_side;
    // The check has applied the user's limits: what it measured is allowed.
    decode.limits =
        limits_with(std::max(decode.limits.max_pixels, std::int64_t{sample.width} * sample.height));
    decode.limits.memory = budget;
    const std::vector<std::uint8_t> bytes = read_image_bytes(sample.path, decode.limits.max_file_bytes);
    if (bytes.size() != sample.bytes || (sample.content != 0 && content_hash(bytes) != sample.content))
        refuse_changed(sample);
    return decode_image(bytes, sample.path, decode);
}

}  // namespace onecycle
