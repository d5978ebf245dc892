// What an AVIF or HEIC holds: its container says one size, its coded pictures say theirs, and a
// decoder takes memory by the latter.
#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "data/codecs.h"

namespace onecycle {

namespace {

[[noreturn]] void refuse_damage() {
    throw DecodeError("damaged: a box of impossible contents");
}

// Reads numbers of whole bytes, the highest first.
class Reader {
  public:
    explicit Reader(Bytes bytes) : bytes_(bytes) {}

    std::uint64_t number(std::size_t bytes) {
        std::uint64_t value = 0;
        for (const std::uint8_t byte : take(bytes)) value = value << 8 | byte;
        return value;
    }
    Bytes take(std::uint64_t bytes) {
        if (bytes > bytes_.size()) refuse_damage();
        const Bytes taken = bytes_.first(static_cast<std::size_t>(bytes));
        bytes_ = bytes_.subspan(taken.size());
        return taken;
    }
    Bytes rest() const { return bytes_; }
    bool at_end() const { return bytes_.empty(); }

  private:
    Bytes bytes_;
};

// Reads numbers of single bits, the highest first.
class BitReader {
  public:
    explicit BitReader(Bytes bytes) : bytes_(bytes) {}

    std::uint32_t bits(int count) {
        std::uint32_t value = 0;
        for (int k = 0; k < count; ++k, ++at_) {
            if (at_ / 8 >= bytes_.size()) throw DecodeError("damaged: its stream's header is cut short");
            value = value << 1 | (bytes_[at_ / 8] >> (7 - at_ % 8) & 1);
        }
        return value;
    }
    bool flag() { return bits(1) != 0; }
    void skip(int count) {
        for (; count > 0; count -= 32) bits(std::min(count, 32));
    }
    // As many ones behind a one as zeros stood before it, less one.
    std::uint32_t exp_golomb() {
        int zeros = 0;
        while (!flag())
            if (++zeros > 31) throw DecodeError("damaged: its stream's header has impossible numbers");
        return (1u << zeros) - 1 + bits(zeros);
    }

  private:
    Bytes bytes_;
    std::size_t at_ = 0;
};

using Box = std::function<void(std::string_view type, Bytes contents)>;

void each_box(Bytes bytes, const Box& take) {
    while (!bytes.empty()) {
        if (bytes.size() < 8) throw DecodeError("truncated");
        std::uint64_t size = big32(bytes, 0), head = 8;
        if (size == 0) size = bytes.size();
        if (size == 1) {
            if (bytes.size() < 16) throw DecodeError("truncated");
            size = std::uint64_t{big32(bytes, 8)} << 32 | big32(bytes, 12);
            head = 16;
        }
        if (size < head) throw DecodeError("damaged: a box of impossible length");
        if (size > bytes.size()) throw DecodeError("truncated");
        take({reinterpret_cast<const char*>(bytes.data()) + 4, 4},
             bytes.subspan(static_cast<std::size_t>(head), static_cast<std::size_t>(size - head)));
        bytes = bytes.subspan(static_cast<std::size_t>(size));
    }
}

struct Size {
    std::uint64_t width = 0, height = 0;
    bool operator==(const Size&) const = default;
};

// What a decoder is given of one coded picture.
struct Stream {
    std::vector<Size> sizes;     // of each sequence header
    std::uint64_t pictures = 0;  // a decoder may keep several as references
};

// AV1, section 5.5.
Size size_of_av1_sequence(Bytes payload) {
    BitReader in(payload);
    in.skip(4);  // profile, still picture
    if (in.flag()) {
        in.skip(5);  // level
    } else {
        bool has_decoder_model = false;
        int delay_bits = 0;
        if (in.flag()) {
            in.skip(64);                     // ticks
            if (in.flag()) in.exp_golomb();  // ticks a picture
            has_decoder_model = in.flag();
            if (has_decoder_model) {
                delay_bits = static_cast<int>(in.bits(5)) + 1;
                in.skip(32 + 10);
            }
        }
        const bool has_display_delay = in.flag();
        for (std::uint32_t points = in.bits(5) + 1; points > 0; --points) {
            in.skip(12);
            if (in.bits(5) > 7) in.skip(1);
            if (has_decoder_model && in.flag()) in.skip(2 * delay_bits + 1);
            if (has_display_delay && in.flag()) in.skip(4);
        }
    }
    const int width_bits = static_cast<int>(in.bits(4)) + 1, height_bits = static_cast<int>(in.bits(4)) + 1;
    const std::uint64_t width = std::uint64_t{in.bits(width_bits)} + 1;
    return {width, std::uint64_t{in.bits(height_bits)} + 1};
}

// AV1, section 5.3.
void walk_av1(Bytes bytes, Stream& stream) {
    Reader in(bytes);
    while (!in.at_end()) {
        const std::uint64_t header = in.number(1), type = header >> 3 & 15;
        if (header & 4) in.number(1);
        std::uint64_t size = in.rest().size();
        if (header & 2) {
            size = 0;
            for (int shift = 0;; shift += 7) {
                const std::uint64_t part = in.number(1);
                size |= (part & 127) << shift;
                if (part < 128) break;
                if (shift == 49) refuse_damage();
            }
        }
        const Bytes payload = in.take(size);
        if (type == 1) stream.sizes.push_back(size_of_av1_sequence(payload));
        // Of a frame, or of a header that does not show an earlier one once more.
        if (type == 6 || (type == 3 && !payload.empty() && (payload[0] & 128) == 0)) ++stream.pictures;
    }
}

// HEVC, section 7.3.2.2. The two bytes of the unit's header come first.
Size size_of_hevc_sequence(Bytes unit) {
    std::vector<std::uint8_t> payload;
    for (std::size_t at = 2, zeros = 0; at < unit.size() && payload.size() < 256; ++at) {
        if (zeros >= 2 && unit[at] == 3) {  // keeps start codes out of the stream
            zeros = 0;
            continue;
        }
        zeros = unit[at] == 0 ? zeros + 1 : 0;
        payload.push_back(unit[at]);
    }
    BitReader in(payload);
    in.skip(4);
    const std::uint32_t sub_layers = in.bits(3);
    in.skip(1 + 88 + 8);  // profile, level
    std::uint32_t has_profile = 0, has_level = 0;
    for (std::uint32_t k = 0; k < sub_layers; ++k) {
        has_profile |= in.bits(1) << k;
        has_level |= in.bits(1) << k;
    }
    if (sub_layers > 0) in.skip(2 * static_cast<int>(8 - sub_layers));
    for (std::uint32_t k = 0; k < sub_layers; ++k)
        in.skip((has_profile >> k & 1 ? 88 : 0) + (has_level >> k & 1 ? 8 : 0));
    in.exp_golomb();                       // its number
    if (in.exp_golomb() == 3) in.skip(1);  // colours
    const std::uint64_t width = in.exp_golomb();
    return {width, in.exp_golomb()};
}

void add_hevc_unit(Bytes unit, Stream& stream) {
    if (unit.size() < 3) return;
    const int type = unit[0] >> 1 & 63;
    if (type == 33) stream.sizes.push_back(size_of_hevc_sequence(unit));
    if (type < 32 && unit[2] & 128) ++stream.pictures;  // the first slice of one
}

// The parts of the box "meta".
class Container {
  public:
    explicit Container(Bytes file) : file_(file) {
        each_box(file, [&](std::string_view type, Bytes contents) {
            if (type == "meta") read_once(type, contents);
        });
    }

    std::uint64_t frame_pixels(const ImageLimits& limits) {
        std::uint64_t most = 0;
        for (const auto& [id, type] : types_) {
            if (type == "grid" || type == "iovl") check_derived(id, type);
            const bool is_av1 = type == "av01";
            if (!is_av1 && type != "hvc1" && type != "hev1") continue;
            const Size said = said_size(id);
            check_dimensions(static_cast<std::int64_t>(said.width), static_cast<std::int64_t>(said.height),
                             limits);
            const Stream stream = is_av1 ? av1_stream(id) : hevc_stream(id);
            if (stream.sizes.empty()) throw DecodeError("damaged: a coded picture without a sequence header");
            for (const Size& size : stream.sizes) {
                // What is coded is whole squares of 64 at most; the container shows a part of it.
                const auto fits = [](std::uint64_t coded, std::uint64_t shown) {
                    return coded >= shown && coded <= (shown + 63) / 64 * 64;
                };
                if (!fits(size.width, said.width) || !fits(size.height, said.height)) refuse_size();
                most = std::max(most,
                                size.width * size.height * std::clamp<std::uint64_t>(stream.pictures, 1, 17));
            }
        }
        return most;
    }

  private:
    [[noreturn]] static void refuse_size() {
        throw DecodeError("damaged: the image is not of the size that its header gives");
    }

    struct Location {
        bool in_idat = false, elsewhere = false;
        std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;  // begin, bytes
    };

    // Two of a kind could be read as one here and as the other by libheif.
    void read_once(std::string_view type, Bytes contents) {
        if (!seen_.emplace(type).second) refuse_damage();
        Reader in(contents);
        if (type == "idat") {
            idat_ = contents;
        } else if (type == "ipco") {
            each_box(contents, [&](std::string_view kind, Bytes property) {
                properties_.emplace_back(kind, property);
            });
        } else if (type == "iprp") {
            each_box(contents, [&](std::string_view kind, Bytes part) {
                if (kind == "ipco") read_once(kind, part);
                if (kind == "ipma") read_associations(part);
            });
        } else {
            const std::uint64_t version = in.number(4) >> 24;
            if (type == "meta")
                each_box(in.rest(), [&](std::string_view kind, Bytes part) {
                    if (kind == "iinf" || kind == "iloc" || kind == "iprp" || kind == "idat")
                        read_once(kind, part);
                });
            else if (type == "iinf")
                read_types(in, version);
            else
                read_locations(in, version);
        }
    }

    void read_types(Reader in, std::uint64_t version) {
        in.number(version == 0 ? 2 : 4);
        each_box(in.rest(), [&](std::string_view kind, Bytes contents) {
            if (kind != "infe") return;
            Reader entry(contents);
            const std::uint64_t entry_version = entry.number(4) >> 24;
            if (entry_version < 2) return;  // no picture
            const std::uint64_t id = entry.number(entry_version == 2 ? 2 : 4);
            entry.number(2);
            const Bytes type = entry.take(4);
            if (!types_.emplace(id, std::string(type.begin(), type.end())).second) refuse_damage();
        });
    }

    void read_locations(Reader in, std::uint64_t version) {
        if (version > 2) refuse_damage();
        const std::uint64_t sizes = in.number(2);
        const auto bytes_of = [&](int shift) { return static_cast<std::size_t>(sizes >> shift & 15); };
        for (std::uint64_t count = in.number(version < 2 ? 2 : 4); count > 0; --count) {
            const std::uint64_t id = in.number(version < 2 ? 2 : 4);
            Location location;
            const std::uint64_t method = version > 0 ? in.number(2) & 15 : 0;
            location.in_idat = method == 1;
            location.elsewhere = in.number(2) != 0 || method > 1;
            const std::uint64_t base = in.number(bytes_of(4));
            for (std::uint64_t extents = in.number(2); extents > 0; --extents) {
                if (version > 0) in.number(bytes_of(0));
                const std::uint64_t begin = in.number(bytes_of(12));
                location.extents.emplace_back(base + begin, in.number(bytes_of(8)));
            }
            if (!locations_.emplace(id, std::move(location)).second) refuse_damage();
        }
    }

    void read_associations(Bytes contents) {
        Reader in(contents);
        const std::uint64_t version_and_flags = in.number(4);
        for (std::uint64_t count = in.number(4); count > 0; --count) {
            const std::uint64_t id = in.number(version_and_flags >> 24 == 0 ? 2 : 4);
            for (std::uint64_t all = in.number(1); all > 0; --all)
                associated_[id].push_back(version_and_flags & 1 ? in.number(2) & 0x7fff : in.number(1) & 127);
        }
    }

    // Items may share bytes; the same again and again has no end.
    void count(std::uint64_t bytes) {
        if (bytes > 16 * file_.size() - taken_) refuse_damage();
        taken_ += bytes;
    }

    std::vector<Bytes> properties_of(std::uint64_t id, std::string_view kind) {
        std::vector<Bytes> found;
        const auto numbers = associated_.find(id);
        if (numbers == associated_.end()) return found;
        for (const std::uint64_t number : numbers->second) {
            if (number == 0 || number > properties_.size()) continue;
            const auto& [its_kind, property] = properties_[number - 1];
            if (its_kind != kind) continue;
            count(property.size());
            found.push_back(property);
        }
        return found;
    }

    Size said_size(std::uint64_t id) {
        std::optional<Size> said;
        for (const Bytes property : properties_of(id, "ispe")) {
            Reader in(property);
            in.number(4);
            const std::uint64_t width = in.number(4);
            const Size size{width, in.number(4)};
            if (said && *said != size) refuse_size();
            said = size;
        }
        if (!said) throw DecodeError("damaged: a picture without a size");
        return *said;
    }

    std::vector<std::uint8_t> data_of(std::uint64_t id) {
        std::vector<std::uint8_t> data;
        const auto location = locations_.find(id);
        if (location == locations_.end() || location->second.elsewhere) refuse_damage();
        const Bytes from = location->second.in_idat ? idat_ : file_;
        for (const auto& [begin, bytes] : location->second.extents) {
            if (begin > from.size() || bytes > from.size() - begin) throw DecodeError("truncated");
            count(bytes);
            const Bytes part = from.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(bytes));
            data.insert(data.end(), part.begin(), part.end());
        }
        return data;
    }

    // A picture put together of others says its size in its own data, too.
    void check_derived(std::uint64_t id, std::string_view type) {
        const std::vector<std::uint8_t> data = data_of(id);
        Reader in(data);
        in.number(1);
        const std::size_t bytes = in.number(1) & 1 ? 4 : 2;
        in.take(type == "grid" ? 2 : 8);  // rows and columns; the colour behind all
        const std::uint64_t width = in.number(bytes);
        if (Size{width, in.number(bytes)} != said_size(id)) refuse_size();
    }

    Stream av1_stream(std::uint64_t id) {
        Stream stream;
        for (const Bytes property : properties_of(id, "av1C")) {
            Reader in(property);
            in.number(4);
            walk_av1(in.rest(), stream);
        }
        walk_av1(data_of(id), stream);
        return stream;
    }

    Stream hevc_stream(std::uint64_t id) {
        Stream stream;
        for (const Bytes property : properties_of(id, "hvcC")) {
            Reader in(property);
            in.take(21);
            if ((in.number(1) & 3) != 3) refuse_damage();  // libheif takes lengths of 4 bytes
            for (std::uint64_t arrays = in.number(1); arrays > 0; --arrays) {
                in.number(1);
                for (std::uint64_t units = in.number(2); units > 0; --units)
                    add_hevc_unit(in.take(in.number(2)), stream);
            }
        }
        const std::vector<std::uint8_t> data = data_of(id);
        for (Reader in(data); !in.at_end();) add_hevc_unit(in.take(in.number(4)), stream);
        return stream;
    }

    Bytes file_, idat_;
    std::uint64_t taken_ = 0;  // bytes of items and properties so far
    std::set<std::string, std::less<>> seen_;
    std::map<std::uint64_t, std::string> types_;
    std::map<std::uint64_t, Location> locations_;
    std::vector<std::pair<std::string, Bytes>> properties_;
    std::map<std::uint64_t, std::vector<std::uint64_t>> associated_;
};

}  // namespace

std::uint64_t walk_heif(Bytes bytes, const ImageLimits& limits) {
    return Container(bytes).frame_pixels(limits);
}

}  // namespace onecycle
