// AVIF and HEIC by libheif, which turns the image upright itself.
#include <libheif/heif.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string_view>

#include "core/echoed.h"
#include "data/codecs.h"

namespace onecycle {

namespace {

void require(const heif_error& error) {
    if (error.code == heif_error_Ok) return;
    if (error.code == heif_error_Unsupported_filetype || error.code == heif_error_Unsupported_feature)
        throw DecodeError("an AVIF or HEIC that libheif cannot decode (" + echoed(error.message) +
                          "); doctor lists its decoders");
    throw DecodeError("damaged: " + echoed(error.message));
}

bool is_av1(Bytes bytes) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data()),
                            std::min<std::size_t>(bytes.size(), 64))
               .find("avi") != std::string_view::npos;
}

bool has_decoder(heif_compression_format format, std::string_view id) {
    std::array<const heif_decoder_descriptor*, 16> found{};
    const int count = heif_get_decoder_descriptors(format, found.data(), static_cast<int>(found.size()));
    return std::any_of(found.begin(), found.begin() + std::clamp(count, 0, static_cast<int>(found.size())),
                       [&](const heif_decoder_descriptor* decoder) {
                           const char* name = heif_decoder_descriptor_get_id_name(decoder);
                           return name != nullptr && id == name;
                       });
}

struct HeifImage {
    std::unique_ptr<heif_context, decltype(&heif_context_free)> context{nullptr, &heif_context_free};
    std::unique_ptr<heif_image_handle, decltype(&heif_image_handle_release)> primary{
        nullptr, &heif_image_handle_release};
};

HeifImage open_heif(Bytes bytes) {
    HeifImage image;
    image.context.reset(heif_context_alloc());
    if (image.context == nullptr) throw std::bad_alloc();
    heif_context_set_max_decoding_threads(image.context.get(), 0);  // the loader has threads enough
    require(
        heif_context_read_from_memory_without_copy(image.context.get(), bytes.data(), bytes.size(), nullptr));
    heif_image_handle* primary = nullptr;
    require(heif_context_get_primary_image_handle(image.context.get(), &primary));
    image.primary.reset(primary);
    return image;
}

}  // namespace

ImageProbe probe_heif(Bytes bytes, const ImageLimits& limits) {
    const std::uint64_t frame_pixels = walk_heif(bytes, limits);
    const HeifImage image = open_heif(bytes);
    ImageProbe probe;
    probe.format = ImageFormat::heif;
    probe.width = heif_image_handle_get_width(image.primary.get());
    probe.height = heif_image_handle_get_height(image.primary.get());
    check_dimensions(probe.width, probe.height, limits);
    probe.channels = heif_image_handle_has_alpha_channel(image.primary.get()) ? 4 : 3;
    probe.bit_depth = heif_image_handle_get_luma_bits_per_pixel(image.primary.get());
    // The container may show a part of what is coded.
    const std::int64_t whole_width = heif_image_handle_get_ispe_width(image.primary.get()),
                       whole_height = heif_image_handle_get_ispe_height(image.primary.get());
    check_dimensions(whole_width, whole_height, limits);
    const auto whole = static_cast<std::uint64_t>(whole_width) * static_cast<std::uint64_t>(whole_height),
               shown = static_cast<std::uint64_t>(probe.width) * static_cast<std::uint64_t>(probe.height),
               squares = static_cast<std::uint64_t>(probe.width / 64 + 1) *
                         static_cast<std::uint64_t>(probe.height / 64 + 1) * 64 * 64;
    constexpr std::uint64_t always = std::uint64_t{1} << 20;
    if (whole > std::max(always, 2 * squares) || frame_pixels > std::max(always, 4 * squares))
        throw DecodeError("too large: it holds pictures much larger than the one it shows");
    // The decoder's frames, their planes before and after they are turned, and RGB of them.
    const std::uint64_t bytes_of_sample = probe.bit_depth > 8 ? 2 : 1;
    probe.work_bytes = 3 * bytes_of_sample * frame_pixels +
                       2 * static_cast<std::uint64_t>(probe.channels) * bytes_of_sample * whole + 3 * shown;
    return probe;
}

Image decode_heif(Bytes bytes, const ImageProbe& probe) {
    const HeifImage file = open_heif(bytes);
    heif_image* decoded = nullptr;
    const std::unique_ptr<heif_decoding_options, decltype(&heif_decoding_options_free)> options(
        heif_decoding_options_alloc(), &heif_decoding_options_free);
    if (options == nullptr) throw std::bad_alloc();
    options->convert_hdr_to_8bit = 1;
    // Where libheif has both, its other decoder of AV1 writes to stderr what it thinks of a damaged
    // file.
    if (is_av1(bytes) && has_decoder(heif_compression_AV1, "aom")) options->decoder_id = "aom";
    require(heif_decode_image(file.primary.get(), &decoded, heif_colorspace_RGB, heif_chroma_interleaved_RGB,
                              options.get()));
    const std::unique_ptr<heif_image, decltype(&heif_image_release)> owner(decoded, &heif_image_release);
    int stride = 0;
    const std::uint8_t* rows = heif_image_get_plane_readonly(decoded, heif_channel_interleaved, &stride);
    if (rows == nullptr || heif_image_get_width(decoded, heif_channel_interleaved) != probe.width ||
        heif_image_get_height(decoded, heif_channel_interleaved) != probe.height)
        throw DecodeError("damaged: the image is not of the size that its header gives");
    Image image{probe.width, probe.height, {}};
    const std::size_t row = static_cast<std::size_t>(probe.width) * 3;
    image.rgb.resize(row * static_cast<std::size_t>(probe.height));
    for (int y = 0; y < probe.height; ++y)
        std::memcpy(&image.rgb[static_cast<std::size_t>(y) * row],
                    rows + static_cast<std::ptrdiff_t>(y) * stride, row);
    return image;
}

std::string heif_decoder() {
    const auto can = [](heif_compression_format format, const char* name) {
        return heif_have_decoder_for_format(format) ? std::string(", ") + name : std::string();
    };
    return "libheif " ONECYCLE_HEIF_VERSION + can(heif_compression_AV1, "AVIF") +
           can(heif_compression_HEVC, "HEIC");
}

}  // namespace onecycle
