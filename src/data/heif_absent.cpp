// Where libheif is absent, AVIF and HEIC are refused.
#include "data/codecs.h"

namespace onecycle {

ImageProbe probe_heif(Bytes, const ImageLimits&) {
    throw DecodeError(
        "AVIF and HEIC are not supported by this build: install libheif-dev and build again, or convert it "
        "to PNG "
        "or JPEG");
}

Image decode_heif(Bytes, const ImageProbe&) {
    throw DecodeError("AVIF and HEIC are not supported by this build");
}

std::string heif_decoder() {
    return "";
}

}  // namespace onecycle
