#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "core/digest.h"

namespace onecycle {
namespace {

TEST(Digest, is_xxh3_128) {
    // Values of xxhsum 0.8.1 -H2, the reference program.
    EXPECT_EQ(Digest().hex(), "99aa06d3014798d86001c324468d497f");
    Digest abc;
    abc.update(std::as_bytes(std::span("abc", 3)));
    EXPECT_EQ(abc.hex(), "06b05ab6733a618578af5f94892f3950");
}

TEST(Digest, does_not_depend_on_how_the_bytes_come) {
    std::vector<unsigned char> bytes(5000);
    std::iota(bytes.begin(), bytes.end(), static_cast<unsigned char>(0));
    Digest whole, parts;
    whole.update(std::as_bytes(std::span(bytes)));
    for (std::size_t at = 0, size = 1; at < bytes.size(); at += size++) {
        parts.update(std::as_bytes(std::span(bytes).subspan(at, std::min(size, bytes.size() - at))));
    }
    EXPECT_EQ(whole.hex(), parts.hex());
    bytes[1234] ^= 1;
    Digest changed;
    changed.update(std::as_bytes(std::span(bytes)));
    EXPECT_NE(whole.hex(), changed.hex());
}

}  // namespace
}  // namespace onecycle
