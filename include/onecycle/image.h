// Images: reading files that nobody vouches for, and resizing them exactly as Pillow does.
//
// Every file is judged by our own walk over its markers or chunks before a decoder sees a byte of
// it: decoders accept files that were cut short (stb_image: 43 % of truncated JPEGs), do not check
// PNG's CRCs, and allocate gigabytes for a header of 177 bytes.
//
// And from a decoded image to the square that the network sees: the evaluation view, and the random
// views of training. All on 8-bit RGB; a view is a pure function of (image, policy, size, seed,
// epoch, sample).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "onecycle/error.h"

namespace onecycle {

// 8-bit RGB, rows from top to bottom: rgb[(y * width + x) * 3 + channel].
struct Image {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> rgb;  // [height, width, 3]
    // Decoded as far as its data go: a part may be grey or show another picture.
    bool damaged = false;
};

// How much memory images may take while they are decoded, over all threads that share it: whoever
// finds too little left waits for its turn.
class DecodeBudget;
// Of so many bytes; 0: a quarter of what is free now.
std::shared_ptr<DecodeBudget> make_decode_budget(std::uint64_t bytes = 0);

// What is refused by its header alone, before anything is allocated.
struct ImageLimits {
    std::size_t max_file_bytes = std::size_t{256} << 20;
    int max_side = 65535;
    std::int64_t max_pixels = 178'956'970;  // Pillow's "decompression bomb" figure
    int max_scans = 100;                    // of a progressive JPEG; usual files have about 10
    // Refuses an image that needs more than all of it. Null: no bound.
    std::shared_ptr<DecodeBudget> memory{};
};

// For images of up to so many pixels. A file may be larger than usual then, too: 16 bits of four
// channels fit.
ImageLimits limits_with(std::int64_t max_pixels);

enum class ImageFormat { jpeg, png, bmp, gif, pnm, webp, tiff, heif };  // heif: AVIF and HEIC

// What the walk over a file's headers found.
struct ImageProbe {
    ImageFormat format = ImageFormat::jpeg;
    int width = 0;   // as stored, before orientation
    int height = 0;  // as stored, before orientation
    // As stored: 1 grey or palette, 2 grey + alpha, 3, 4 (RGBA, or CMYK in a JPEG).
    int channels = 0;
    int bit_depth = 8;    // of one channel (of a palette index)
    int orientation = 1;  // EXIF, 1..8; missing or invalid values count as 1
    bool progressive = false;
    // What its decoder holds beside the pixels, such as a progressive JPEG's coefficients.
    std::uint64_t work_bytes = 0;
    // Damage was seen, and yet it can be decoded; most damage shows only in decoding.
    bool damaged = false;
};

// An image that cannot be used: Error(data) whose reason can be listed ("truncated", "empty file",
// "not an image (starts with '<html')").
class ImageError : public Error {
  public:
    ImageError(const std::string& name, const std::string& reason);
    const std::string& reason() const noexcept { return reason_; }

  private:
    std::string reason_;
};

// Checks a whole file without decoding it, where its format allows that: structure, completeness,
// PNG's CRCs, limits, and that the file has at least the bytes its size in pixels needs. The format
// is told by content, never by name. `name` is only for the message. Throws ImageError.
ImageProbe probe_image(std::span<const std::uint8_t> bytes, const std::string& name = "",
                       const ImageLimits& limits = {});

struct DecodeOptions {
    ImageLimits limits;
    // When above 0, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its short side
    // stays at or above this. Faster, but other pixels than decoding whole and then resizing. 0:
    // never.
    int min_short_side = 0;
};

// Probes, then decodes to upright RGB: the pixels of Pillow's
// ImageOps.exif_transpose(image).convert("RGB"), but 16-bit channels keep their high byte. Alpha is
// dropped. Throws ImageError.
Image decode_image(std::span<const std::uint8_t> bytes, const std::string& name = "",
                   const DecodeOptions& options = {});

// Reads and decodes a file. Throws ImageError, also when the file cannot be read.
Image read_image(const std::string& path, const DecodeOptions& options = {});

// The bytes of a regular file, or of a member of a shard, SHARD.tar/<member>. Throws ImageError when it is missing, unreadable, not a regular file
// or above `max_bytes`.
std::vector<std::uint8_t> read_image_bytes(const std::string& path,
                                           std::size_t max_bytes = ImageLimits{}.max_file_bytes);

struct ImageFileStatus {
    std::uint64_t bytes = 0;
    std::int64_t changed = 0;  // when it was last changed: nanoseconds since 1970
};

// Opens a file as read_image_bytes() does, but reads nothing of it. Throws ImageError likewise.
ImageFileStatus image_file_status(const std::string& path);

// A rectangle in pixels, edges not whole numbers perhaps; x1 and y1 are exclusive.
struct Box {
    double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
};

// Bilinear with antialiasing, bit for bit Pillow 13's Image.resize((width, height), BILINEAR, box):
// two passes with 22-bit fixed-point weights, rounded to 8 bits after each. As there, a box does
// not keep the pixels beside it from taking part. Sides are at least 1.
Image resize_bilinear(const Image& image, int width, int height);
Image resize_bilinear(const Image& image, const Box& box, int width, int height);

// The window [x, x + width) x [y, y + height) of resize_bilinear(image, box, full_width,
// full_height), at the cost of the window alone.
struct ResizeWindow {
    int full_width = 0, full_height = 0;
    int x = 0, y = 0, width = 0, height = 0;
};
Image resize_bilinear(const Image& image, const Box& box, const ResizeWindow& window);

// Which library decodes JPEG in this build, with its version: "libjpeg-turbo 2.1.5" or "stb_image
// 2.27".
std::string jpeg_decoder();
// The same of PNG: "libpng 1.6.39"; empty where this build refuses it.
std::string png_decoder();
// The same of WebP, TIFF, and AVIF and HEIC ("libheif 1.15.1, AVIF, HEIC": what of the two it can
// decode); empty where this build refuses the format.
std::string webp_decoder();
std::string tiff_decoder();
std::string heif_decoder();
// Which library reads shards: "libarchive 3.6.2"; empty where this build refuses them.
std::string shard_reader();

// --- views ---

// none: the evaluation view.  flip: the evaluation view, mirrored half of the time.
// standard: a random resized crop (area .35 to 1, ratio 3/4 to 4/3), mirrored half of the time.
// strong: see describe().
enum class AugmentPolicy { none, flip, standard, strong };

// "none", "flip", "standard" or "strong"; anything else is Error(usage).
AugmentPolicy parse_augment(const std::string& name);
std::string to_string(AugmentPolicy policy);

// What the policy does, one sentence for the help text.
std::string describe(AugmentPolicy policy);

// True for the policies whose source is the whole image, of which they cut a random part.
bool crops_at_random(AugmentPolicy policy);

// Much smaller values would overflow int for very elongated images.
inline constexpr double least_crop_pct = 0.1;

// What evaluation sees (size x size): the short side resized to round(size / crop_pct), the long
// side to int(short * long / short_old), then the centre crop with offset round-half-even((side -
// size) / 2), as torchvision. An image that is exactly size x size is returned as it is. crop_pct
// is at least least_crop_pct and at most 1.
Image evaluation_view(const Image& image, int size, double crop_pct);

// What training sees of `image` (size x size) in `epoch`. `sample` is the index in the list of good
// training files. For `none` and `flip` the view is made from evaluation_view().
struct ViewKey {
    std::uint64_t seed = 0;
    std::uint32_t epoch = 0;
    std::uint64_t sample = 0;
};
Image training_view(const Image& image, AugmentPolicy policy, int size, double crop_pct, const ViewKey& key);

}  // namespace onecycle
