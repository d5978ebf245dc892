// Where libpng is absent, a PNG is refused.
#include "data/codecs.h"

namespace onecycle {

ImageProbe probe_png(Bytes, const ImageLimits&) {
    throw DecodeError(
        "PNG is not supported by this build: install libpng-dev and build again, or convert it to BMP or "
        "JPEG");
}

Image decode_png(Bytes, const ImageProbe&) {
    throw DecodeError("PNG is not supported by this build");
}

std::string png_decoder() {
    return "";
}

}  // namespace onecycle
