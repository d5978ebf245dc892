// Numbers and texts as bytes that look alike on every machine, and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace onecycle {

class Packer {
  public:
    // Seven bits a byte, the lowest first; the eighth says that more follow.
    void number(std::uint64_t value) {
        for (; value >= 128; value >>= 7) bytes.push_back(static_cast<std::uint8_t>(value | 128));
        bytes.push_back(static_cast<std::uint8_t>(value));
    }
    void text(std::string_view text) {
        number(text.size());
        bytes.insert(bytes.end(), text.begin(), text.end());
    }
    void hash(std::uint64_t value) {
        for (int shift = 0; shift < 64; shift += 8)
            bytes.push_back(static_cast<std::uint8_t>(value >> shift));
    }

    std::vector<std::uint8_t> bytes;
};

// Throws std::runtime_error where the bytes are not what was packed.
class Unpacker {
  public:
    explicit Unpacker(std::span<const std::uint8_t> bytes) : left_(bytes) {}

    std::uint8_t byte() {
        need(1);
        const std::uint8_t value = left_.front();
        left_ = left_.subspan(1);
        return value;
    }
    std::uint64_t number() {
        std::uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            const std::uint8_t part = byte();
            value |= std::uint64_t{part & 127u} << shift;
            if (part < 128) return value;
        }
        throw std::runtime_error("a number is too long");
    }
    // A count of things that take at least `each` bytes: a wrong one must not reserve memory.
    std::size_t count(std::size_t each) {
        const std::uint64_t value = number();
        if (value > left_.size() / each) throw std::runtime_error("a count is too large");
        return static_cast<std::size_t>(value);
    }
    std::string text() {
        const std::size_t size = count(1);
        const std::string text(left_.begin(), left_.begin() + static_cast<std::ptrdiff_t>(size));
        left_ = left_.subspan(size);
        return text;
    }
    std::uint64_t hash() {
        std::uint64_t value = 0;
        for (int shift = 0; shift < 64; shift += 8) value |= std::uint64_t{byte()} << shift;
        return value;
    }
    void end() const {
        if (!left_.empty()) throw std::runtime_error("bytes are left over");
    }

  private:
    void need(std::size_t bytes) const {
        if (left_.size() < bytes) throw std::runtime_error("the list ends early");
    }

    std::span<const std::uint8_t> left_;
};

}  // namespace onecycle
