// Content digests: XXH3-128. They find damage and name equal contents; they are no defence against
// someone who forges a file.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace onecycle {

// Usage: Digest d; d.update(bytes) any number of times; d.hex().
class Digest {
  public:
    Digest();
    void update(std::span<const std::byte> bytes);
    std::string hex() const;  // 32 lower-case hex digits of all bytes so far

    static constexpr std::size_t hex_digits = 32;

  private:
    struct Free {
        void operator()(void* state) const noexcept;
    };
    std::unique_ptr<void, Free> state_;
};

}  // namespace onecycle
