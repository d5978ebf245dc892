// Where libtiff is absent, a TIFF is refused.
#include "data/codecs.h"

namespace onecycle {

ImageProbe probe_tiff(Bytes, const ImageLimits&) {
    throw DecodeError(
        "TIFF is not supported by this build: install libtiff-dev and build again, or convert it to PNG or "
        "JPEG");
}

Image decode_tiff(Bytes, const ImageProbe&) {
    throw DecodeError("TIFF is not supported by this build");
}

std::string tiff_decoder() {
    return "";
}

}  // namespace onecycle
