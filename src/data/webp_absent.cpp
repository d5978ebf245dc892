// Where libwebp is absent, a WebP is refused.
#include "data/codecs.h"

namespace onecycle {

ImageProbe probe_webp(Bytes, const ImageLimits&) {
    throw DecodeError(
        "WebP is not supported by this build: install libwebp-dev and build again, or convert it to PNG or "
        "JPEG");
}

Image decode_webp(Bytes, const ImageProbe&) {
    throw DecodeError("WebP is not supported by this build");
}

std::string webp_decoder() {
    return "";
}

}  // namespace onecycle
