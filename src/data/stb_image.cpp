#include "data/stb_image.h"

#include <algorithm>
#include <cstring>
#include <memory>

// An assertion that fails is a fact about the file, not about the program.
#define STBI_ASSERT(x)                                                                       \
    do {                                                                                     \
        if (!(x)) throw onecycle::DecodeError("damaged: the decoder found a contradiction"); \
    } while (0)
#define STBI_MAX_DIMENSIONS 65535  // the probe has applied the real limits
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_ONLY_JPEG
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wextra"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace onecycle {

namespace {

struct Reader {
    Bytes bytes;
    std::size_t at = 0;
    bool past_end = false;
};

const stbi_io_callbacks reader_callbacks = {
    [](void* user, char* data, int size) {
        Reader& reader = *static_cast<Reader*>(user);
        const std::size_t count = std::min(static_cast<std::size_t>(size), reader.bytes.size() - reader.at);
        if (count == 0) reader.past_end = true;
        std::memcpy(data, reader.bytes.data() + reader.at, count);
        reader.at += count;
        return static_cast<int>(count);
    },
    [](void* user, int distance) {
        Reader& reader = *static_cast<Reader*>(user);
        const std::size_t left = reader.bytes.size() - reader.at;
        if (distance > 0 && static_cast<std::size_t>(distance) > left) reader.past_end = true;
        reader.at += std::min(static_cast<std::size_t>(std::max(distance, 0)), left);
    },
    [](void* user) {
        const Reader& reader = *static_cast<Reader*>(user);
        return reader.at >= reader.bytes.size() ? 1 : 0;
    },
};

}  // namespace

Image decode_with_stb(Bytes bytes) {
    Reader reader{bytes};
    Image image;
    int channels = 0;
    const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
        stbi_load_from_callbacks(&reader_callbacks, &reader, &image.width, &image.height, &channels, 3),
        &stbi_image_free);
    if (pixels == nullptr) throw DecodeError(std::string("damaged: ") + stbi_failure_reason());
    if (reader.past_end) throw DecodeError("truncated");
    image.rgb.assign(pixels.get(), pixels.get() + static_cast<std::size_t>(image.width) * image.height * 3);
    return image;
}

std::string stb_decoder() {
    return "stb_image " ONECYCLE_STB_VERSION;
}

}  // namespace onecycle
