// JPEG where libjpeg-turbo is absent. Never scaled.
#include "data/stb_image.h"

namespace onecycle {

Image decode_jpeg(Bytes bytes, const ImageProbe&, int) {
    return decode_with_stb(bytes);
}

std::string jpeg_decoder() {
    return png_decoder();
}

}  // namespace onecycle
