// What an AVIF or HEIC says of its size in one place must hold in the other.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "data/codecs.h"
#include "data/decode_budget.h"
#include "data/files.h"

namespace onecycle {
namespace {

using File = std::vector<std::uint8_t>;

File number(std::uint64_t value, int bytes) {
    File out;
    for (int k = bytes - 1; k >= 0; --k) out.push_back(static_cast<std::uint8_t>(value >> 8 * k));
    return out;
}

File joined(std::initializer_list<File> parts) {
    File out;
    for (const File& part : parts) out.insert(out.end(), part.begin(), part.end());
    return out;
}

File box(const std::string& type, std::initializer_list<File> parts) {
    const File contents = joined(parts);
    return joined({number(contents.size() + 8, 4), File(type.begin(), type.end()), contents});
}

// Of single bits, the highest first.
class Bits {
  public:
    Bits& add(std::uint32_t value, int count) {
        for (int k = count - 1; k >= 0; --k) bits_.push_back(value >> k & 1);
        return *this;
    }
    Bits& add_exp_golomb(std::uint32_t value) {
        int bits = 0;
        while ((value + 1) >> (bits + 1)) ++bits;
        return add(0, bits).add(value + 1, bits + 1);
    }
    File bytes() const {
        File out((bits_.size() + 7) / 8);
        for (std::size_t k = 0; k < bits_.size(); ++k)
            if (bits_[k]) out[k / 8] |= static_cast<std::uint8_t>(128 >> k % 8);
        return out;
    }

  private:
    std::vector<bool> bits_;
};

File av1_unit(int type, const File& payload) {
    return joined({number(static_cast<std::uint64_t>(type << 3 | 2), 1), number(payload.size(), 1), payload});
}

File av1_sequence(std::uint32_t width, std::uint32_t height, bool reduced = true) {
    Bits bits;
    if (reduced)
        bits.add(0, 3).add(3, 2).add(0, 5);
    else  // with timing, a decoder's model, a display delay and two operating points
        bits.add(0, 5)
            .add(1, 1)
            .add(7, 32)
            .add(7, 32)
            .add(1, 1)
            .add_exp_golomb(5)
            .add(1, 1)
            .add(9, 5)
            .add(7, 32)
            .add(9, 10)
            .add(1, 1)
            .add(1, 5)
            .add(1, 12)
            .add(9, 5)
            .add(1, 1)
            .add(1, 1)
            .add(3, 21)
            .add(1, 1)
            .add(4, 4)
            .add(1, 12)
            .add(3, 5)
            .add(0, 1)
            .add(0, 1);
    bits.add(15, 4).add(15, 4).add(width - 1, 16).add(height - 1, 16).add(0, 32);
    return av1_unit(1, bits.bytes());
}

File hevc_sequence(std::uint32_t width, std::uint32_t height) {
    Bits bits;
    bits.add(0, 4).add(2, 3).add(1, 1);
    for (int k = 0; k < 12; ++k) bits.add(k < 11 ? 0x11 : 93, 8);
    bits.add(3, 2).add(1, 2).add(0, 12);  // profile and level of one layer, level of the other
    for (int k = 0; k < 13; ++k) bits.add(0x11, 8);
    bits.add_exp_golomb(0).add_exp_golomb(3).add(0, 1).add_exp_golomb(width).add_exp_golomb(height).add(1, 8);
    File escaped = {33 << 1, 1};
    int zeros = 0;
    for (const std::uint8_t byte : bits.bytes()) {
        if (zeros >= 2 && byte <= 3) escaped.push_back(3), zeros = 0;
        escaped.push_back(byte);
        zeros = byte == 0 ? zeros + 1 : 0;
    }
    return escaped;
}

struct Item {
    std::string type;
    File properties;  // but its size
    File data;
    int extents = 1, associations = 1;  // with the data, with `properties`
};

File heif(std::uint32_t width, std::uint32_t height, const Item& item) {
    File extents;
    for (int k = 0; k < item.extents; ++k)
        extents = joined({extents, number(0, 4), number(item.data.size(), 4)});
    const auto all = static_cast<std::uint8_t>(item.associations + 1);
    const File numbers = joined({{all, 1}, File(static_cast<std::size_t>(item.associations), 2)});
    const File infe = box("infe", {number(2u << 24, 4), number(1, 2), number(0, 2),
                                   File(item.type.begin(), item.type.end()), number(0, 1)});
    return joined(
        {box("ftyp", {{'a', 'v', 'i', 'f'}, number(0, 4)}),
         box("meta",
             {number(0, 4), box("pitm", {number(0, 4), number(1, 2)}),
              box("iinf", {number(0, 4), number(1, 2), infe}),
              box("iloc", {number(1u << 24, 4), number(0x4400, 2), number(1, 2), number(1, 2), number(1, 2),
                           number(0, 2), number(static_cast<std::uint64_t>(item.extents), 2), extents}),
              box("iprp", {box("ipco", {box("ispe", {number(0, 4), number(width, 4), number(height, 4)}),
                                        item.properties}),
                           box("ipma", {number(0, 4), number(1, 4), number(1, 2), numbers})}),
              box("idat", {item.data})})});
}

File av1c(const File& units) {
    return box("av1C", {number(0x81000000, 4), units});
}

File hvcc(const File& unit) {
    return box("hvcC", {File(21, 1), {0xFF, 1, 33}, number(1, 2), number(unit.size(), 2), unit});
}

// The frames' pixels, or why it is refused.
std::string walked(const File& file) {
    try {
        return std::to_string(walk_heif(file, {}));
    } catch (const DecodeError& error) {
        return error.what();
    }
}

const std::string other_size = "damaged: the image is not of the size that its header gives";
const File frame = av1_unit(6, {0});
const File hevc_frame = {0, 0, 0, 4, 20 << 1, 1, 128, 0};

TEST(HeifWalk, takes_a_coded_picture_of_the_size_that_the_container_says) {
    EXPECT_EQ(walked(heif(500, 300, {"av01", av1c({}), joined({av1_sequence(500, 300), frame})})), "150000");
    EXPECT_EQ(walked(heif(500, 300, {"av01", av1c(av1_sequence(500, 300, false)), frame})), "150000");
    EXPECT_EQ(walked(heif(500, 300, {"hvc1", hvcc(hevc_sequence(512, 304)), hevc_frame})), "155648");
}

TEST(HeifWalk, counts_each_frame_that_a_decoder_keeps) {
    EXPECT_EQ(walked(heif(500, 300, {"av01", av1c(av1_sequence(500, 300)), joined({frame, frame, frame})})),
              "450000");
    const File shown_again = av1_unit(3, {128});
    EXPECT_EQ(walked(heif(500, 300,
                          {"av01", av1c(av1_sequence(500, 300)), joined({frame, shown_again, shown_again})})),
              "150000");
    EXPECT_EQ(
        walked(heif(512, 304, {"hvc1", hvcc(hevc_sequence(512, 304)), joined({hevc_frame, hevc_frame})})),
        "311296");
}

TEST(HeifWalk, refuses_a_coded_picture_of_another_size_wherever_it_says_so) {
    for (const auto& [width, height] : {std::pair(8192u, 8u), {8u, 8192u}, {65536u, 65536u}, {7u, 8u}})
        for (const bool reduced : {false, true}) {
            const File sequence = av1_sequence(width, height, reduced), good = av1_sequence(8, 8);
            EXPECT_EQ(walked(heif(8, 8, {"av01", av1c(sequence), frame})), other_size);
            EXPECT_EQ(walked(heif(8, 8, {"av01", av1c(good), joined({sequence, frame})})), other_size);
            EXPECT_EQ(walked(heif(8, 8, {"av01", av1c({}), joined({good, frame, sequence})})), other_size);
        }
    const File large = hevc_sequence(8192, 8192), in_stream = joined({number(large.size(), 4), large});
    EXPECT_EQ(walked(heif(8, 8, {"hvc1", hvcc(large), hevc_frame})), other_size);
    EXPECT_EQ(walked(heif(8, 8, {"hvc1", hvcc(hevc_sequence(8, 8)), joined({in_stream, hevc_frame})})),
              other_size);
    EXPECT_EQ(walked(heif(8, 8, {"grid", av1c({}), {0, 0, 0, 0, 0x40, 0, 0x40, 0}})), other_size);
    EXPECT_EQ(walked(heif(
                  8, 8, {"iovl", av1c({}), joined({{0, 1}, File(8, 0), number(8, 4), number(1u << 20, 4)})})),
              other_size);
}

TEST(HeifWalk, refuses_what_libheif_could_read_otherwise) {
    EXPECT_NE(walked(heif(8, 8, {"av01", av1c({}), frame})).find("without a sequence header"),
              std::string::npos);
    const File good = heif(8, 8, {"av01", av1c(av1_sequence(8, 8)), frame});
    EXPECT_EQ(walked(good), "64");
    const File padding = joined({av1_unit(15, File(120)), av1_unit(15, File(120))});
    EXPECT_EQ(walked(joined({good, good})), "damaged: a box of impossible contents");
    EXPECT_EQ(walked(heif(8, 8, {"av01", av1c(av1_sequence(8, 8)), padding, 500})),
              "damaged: a box of impossible contents");
    const File many = heif(8, 8, {"av01", av1c(joined({av1_sequence(8, 8), padding})), frame, 1, 250});
    EXPECT_EQ(walked(many), "damaged: a box of impossible contents");
    for (std::size_t length = 0; length < good.size(); ++length)
        EXPECT_NE(walked(File(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length))), "64");
}

TEST(HeifWalk, knows_the_sizes_of_real_files_and_their_sum_counts_planes_and_frame) {
    for (const char* name :
         {"colour.avif", "subsampled.avif", "grey.avif", "orientation_6.avif", "colour.heic"}) {
        const File file = test::bytes_of(test::images() / name);
        EXPECT_EQ(walked(file).find_first_not_of("0123456789"), std::string::npos) << name << walked(file);
        if (heif_decoder().empty()) continue;
        const ImageProbe probe = probe_image(file);
        EXPECT_GE(decode_bytes(probe), 15u * static_cast<unsigned>(probe.width * probe.height)) << name;
        File lie = file;
        for (std::size_t at = 0; at + 16 < lie.size(); ++at)
            if (std::string(lie.begin() + static_cast<std::ptrdiff_t>(at),
                            lie.begin() + static_cast<std::ptrdiff_t>(at) + 4) == "ispe")
                lie[at + 10] = 1;  // 256 pixels more
        EXPECT_THROW(probe_image(lie), ImageError) << name;
    }
}

}  // namespace
}  // namespace onecycle
