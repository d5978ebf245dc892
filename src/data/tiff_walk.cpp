// The walk over a TIFF's directories (TIFF 6.0, section 2; BigTIFF): whether all that they point at
// lies in the file. libtiff leaves out a tag that it cannot read, be it the palette.
#include <algorithm>
#include <set>
#include <utility>

#include "data/codecs.h"

namespace onecycle {

namespace {

class TiffWalk {
  public:
    explicit TiffWalk(Bytes bytes) : bytes_(bytes), little_(bytes[0] == 'I') {
        if (bytes.size() < 16) throw DecodeError("truncated");
        big_ = (little_ ? bytes[2] : bytes[3]) == 43;
        // As pages, so the pages' directories: each names the next, and 0 ends them.
        std::set<std::uint64_t> seen;
        for (std::uint64_t at = number(big_ ? 8 : 4, big_ ? 8 : 4); at != 0; at = directory(at))
            if (!seen.insert(at).second || seen.size() > 65535)
                throw DecodeError("damaged: its pages do not end");
        if (seen.empty()) throw DecodeError("holds no image data");
    }

  private:
    void require(std::uint64_t at, std::uint64_t size) const {
        if (at > bytes_.size() || size > bytes_.size() - at) throw DecodeError("truncated");
    }

    std::uint64_t number(std::uint64_t at, std::uint64_t size) const {
        require(at, size);
        std::uint64_t value = 0;
        for (std::uint64_t k = 0; k < size; ++k)
            value = value << 8 | bytes_[static_cast<std::size_t>(at + (little_ ? size - 1 - k : k))];
        return value;
    }

    // Where the next one is.
    std::uint64_t directory(std::uint64_t at) {
        const std::uint64_t count_size = big_ ? 8 : 2, entry_size = big_ ? 20 : 12, word = big_ ? 8 : 4;
        const std::uint64_t entries = number(at, count_size);
        if (entries > 65535) throw DecodeError("damaged: a directory of impossible length");
        at += count_size;
        require(at, entries * entry_size + word);
        std::vector<std::uint64_t> begins, lengths;  // of strips or tiles
        for (std::uint64_t k = 0; k < entries; ++k) {
            const std::uint64_t tag = number(at + k * entry_size, 2);
            std::vector<std::uint64_t> values = entry(at + k * entry_size, word);
            if (tag == 273 || tag == 324) begins = std::move(values);
            if (tag == 279 || tag == 325) lengths = std::move(values);
        }
        // Some writers give too long a last strip: of the first page, the decoder's side looks
        // closer.
        for (std::size_t k = 0; k < begins.size(); ++k)
            require(begins[k], first_page_ || k >= lengths.size() ? 1 : lengths[k]);
        first_page_ = false;
        return number(at + entries * entry_size, word);
    }

    // Tag, type, number of values, and the values, or their place where they are too long for it.
    // Gives those that are whole numbers.
    std::vector<std::uint64_t> entry(std::uint64_t at, std::uint64_t word) {
        constexpr std::uint64_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8};
        const std::uint64_t tag = number(at, 2), type = number(at + 2, 2), count = number(at + 4, word);
        // Makers' own data harm no pixel.
        if (tag >= 0x8000 || type >= std::size(sizes) || sizes[type] == 0) return {};
        if (count > bytes_.size() / sizes[type]) throw DecodeError("truncated");
        values_ += count;
        if (values_ > bytes_.size())
            throw DecodeError("damaged: its directories overlap");  // and reading them has no end
        std::uint64_t first = at + 4 + word;
        if (count * sizes[type] > word) first = number(first, word);
        require(first, count * sizes[type]);
        std::vector<std::uint64_t> values;
        if (type == 3 || type == 4 || type == 16)
            for (std::uint64_t k = 0; k < count; ++k)
                values.push_back(number(first + k * sizes[type], sizes[type]));
        return values;
    }

    Bytes bytes_;
    bool little_ = true, big_ = false, first_page_ = true;
    std::uint64_t values_ = 0;
};

}  // namespace

void walk_tiff(Bytes bytes) {
    TiffWalk{bytes};
}

}  // namespace onecycle
