// The parts behind probe_image and decode_image, one pair a format. They throw DecodeError, which
// the two public functions turn into ImageError with the file's name.
#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "data/bytes.h"
#include "onecycle/image.h"

namespace onecycle {

struct DecodeError : std::runtime_error {
    using std::runtime_error::runtime_error;  // what(): the reason
};

// Runs `work`, whose failure is a fact about the image `name`.
template <typename Call>
auto named(const std::string& name, Call work) -> decltype(work()) {
    try {
        return work();
    } catch (const DecodeError& refusal) {
        throw ImageError(name, refusal.what());
    } catch (const std::bad_alloc&) {
        throw ImageError(name, "not enough memory to decode it");
    }
}

// Throws DecodeError for a file above `most` bytes, and says what allows it.
void check_file_size(std::uint64_t bytes, std::size_t most);

// Throws DecodeError unless 1 <= sides <= max_side and pixels <= max_pixels.
void check_dimensions(std::int64_t width, std::int64_t height, const ImageLimits& limits);

// What probe_image does, of a file without a name: throws DecodeError.
ImageProbe probe_bytes(Bytes bytes, const ImageLimits& limits);

// Each walks over the whole file and throws DecodeError. The signature has been recognised before.
ImageProbe probe_jpeg(Bytes bytes, const ImageLimits& limits);
ImageProbe probe_png(Bytes bytes, const ImageLimits& limits);
ImageProbe probe_bmp(Bytes bytes, const ImageLimits& limits);
ImageProbe probe_gif(Bytes bytes, const ImageLimits& limits);
ImageProbe probe_pnm(Bytes bytes, const ImageLimits& limits);
ImageProbe probe_webp(Bytes bytes, const ImageLimits& limits);
ImageProbe probe_tiff(Bytes bytes, const ImageLimits& limits);
ImageProbe probe_heif(Bytes bytes, const ImageLimits& limits);

// Each decodes a file that its probe has accepted, without applying the orientation.
Image decode_jpeg(Bytes bytes, const ImageProbe& probe, int min_short_side);
Image decode_png(Bytes bytes, const ImageProbe& probe);
Image decode_bmp(Bytes bytes, const ImageProbe& probe);
Image decode_gif(Bytes bytes, const ImageProbe& probe);
Image decode_pnm(Bytes bytes, const ImageProbe& probe);
Image decode_webp(Bytes bytes, const ImageProbe& probe);
Image decode_tiff(Bytes bytes, const ImageProbe& probe);
Image decode_heif(Bytes bytes, const ImageProbe& probe);

// A JPEG with its colours at half the resolution (4:2:0), as cameras make them; `quality` 1 to 100
// as libjpeg's. Throws Error(data) where this build cannot write one.
std::vector<std::uint8_t> encode_jpeg(const Image& image, int quality);

// Throws DecodeError unless all that the directories of a TIFF point at lies in the file.
void walk_tiff(Bytes bytes);

// Throws DecodeError for an AVIF or HEIC that was cut short, and where a coded picture has another
// size than its container says. Returns the pixels of the frames that a decoder holds at most.
std::uint64_t walk_heif(Bytes bytes, const ImageLimits& limits);

// Whether the bytes begin as a PBM, PGM or PPM.
bool is_pnm(Bytes bytes);

// Throws DecodeError when the decoder cannot use the tables in front of the image data. Where it
// cannot tell without decoding, it does not throw.
void check_jpeg_tables(Bytes bytes);

// The orientation 1..8 in a TIFF block (the payload of EXIF), else in a packet of XMP; 1 when there
// is none or it is not valid. Either may be empty.
int orientation_of(Bytes exif, Bytes xmp);

// A PNG reduced to what its pixels need: IHDR, PLTE of a picture with a palette, IDAT without empty
// chunks, IEND. So transparency, gamma and what stands in chunks of other kinds reach no decoder.
std::vector<std::uint8_t> essential_png(Bytes bytes);

// CMYK as JPEGs store it (inverted: 255 is no ink), converted as Pillow does.
Image rgb_from_inverted_cmyk(int width, int height, const std::vector<std::uint8_t>& cmyk);

}  // namespace onecycle
