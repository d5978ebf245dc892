#include "core/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <new>

namespace onecycle {

void Digest::Free::operator()(void* state) const noexcept {
    XXH3_freeState(static_cast<XXH3_state_t*>(state));
}

Digest::Digest() : state_(XXH3_createState()) {
    if (!state_) throw std::bad_alloc();
    XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_.get()));
}

void Digest::update(std::span<const std::byte> bytes) {
    XXH3_128bits_update(static_cast<XXH3_state_t*>(state_.get()), bytes.data(), bytes.size());
}

std::string Digest::hex() const {
    XXH128_canonical_t canonical;  // big-endian bytes: the same text on every machine
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(static_cast<const XXH3_state_t*>(state_.get())));
    std::string text;
    for (const unsigned char byte : canonical.digest) {
        constexpr char digits[] = "0123456789abcdef";
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

}  // namespace onecycle
