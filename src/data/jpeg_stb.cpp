// JPEG where libjpeg-turbo is absent. Never scaled. Of damaged image data stb_image refuses a part,
// and does not notice the rest.
#include "data/stb_image.h"

namespace onecycle {

void check_jpeg_tables(Bytes) {}

Image decode_jpeg(Bytes bytes, const ImageProbe&, int) {
    return decode_with_stb(bytes);
}

std::vector<std::uint8_t> encode_jpeg(const Image&, int) {
    throw Error(ErrorKind::data, "cannot make images smaller", "--size", "this build has no libjpeg-turbo",
                "install libjpeg-dev and build again, or leave --size out");
}

std::string jpeg_decoder() {
    return stb_decoder();
}

}  // namespace onecycle
