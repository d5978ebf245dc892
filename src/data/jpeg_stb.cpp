// JPEG where libjpeg-turbo is absent. Never scaled. Of damaged image data stb_image refuses a part,
// and does not notice the rest.
#include "data/stb_image.h"

namespace onecycle {

void check_jpeg_tables(Bytes) {}

Image decode_jpeg(Bytes bytes, const ImageProbe&, int) {
    return decode_with_stb(bytes);
}

std::string jpeg_decoder() {
    return stb_decoder();
}

}  // namespace onecycle
