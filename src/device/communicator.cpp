#include "device/communicator.h"

#include <algorithm>

namespace onecycle {

std::vector<Share> shares_of(std::int64_t elements, std::size_t element_bytes, int ranks,
                             std::int64_t alignment) {
    const std::int64_t even = (elements + ranks - 1) / ranks,
                       length = (even + alignment - 1) / alignment * alignment;
    std::vector<Share> shares;
    for (std::int64_t r = 0; r < ranks; ++r) {
        const std::int64_t begin = std::min(elements, r * length), end = std::min(elements, begin + length);
        shares.push_back({static_cast<std::size_t>(begin) * element_bytes,
                          static_cast<std::size_t>(end - begin) * element_bytes});
    }
    return shares;
}

void broadcast(Communicator& ranks, std::string& text) {
    std::uint64_t size = text.size();
    ranks.broadcast(std::as_writable_bytes(std::span(&size, 1)));
    text.resize(size);
    ranks.broadcast(std::as_writable_bytes(std::span(text)));
}

std::vector<std::string> all_gather(Communicator& ranks, const std::string& own) {
    const auto count = static_cast<std::size_t>(ranks.place().ranks);
    const std::uint64_t size = own.size();
    std::vector<std::uint64_t> sizes(count);
    ranks.all_gather(std::as_bytes(std::span(&size, 1)), reinterpret_cast<std::byte*>(sizes.data()));
    const std::uint64_t longest = *std::max_element(sizes.begin(), sizes.end());
    std::string padded = own;
    padded.resize(longest);
    std::string all(longest * count, '\0');
    ranks.all_gather(std::as_bytes(std::span(padded)), reinterpret_cast<std::byte*>(all.data()));
    std::vector<std::string> texts;
    for (std::size_t r = 0; r < count; ++r) texts.push_back(all.substr(r * longest, sizes[r]));
    return texts;
}

std::int64_t largest(Communicator& ranks, std::int64_t own) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(ranks.place().ranks));
    ranks.all_gather(std::as_bytes(std::span(&own, 1)), reinterpret_cast<std::byte*>(all.data()));
    return *std::max_element(all.begin(), all.end());
}

std::string packed(const std::vector<std::string>& texts) {
    std::string all;
    for (const std::string& text : texts) all += std::to_string(text.size()) + ':' + text;
    return all;
}

std::vector<std::string> unpacked(const std::string& text) {
    std::vector<std::string> texts;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t colon = text.find(':', at), length = std::stoull(text.substr(at, colon - at));
        texts.push_back(text.substr(colon + 1, length));
        at = colon + 1 + length;
    }
    return texts;
}

RankPlace place_in(const Communicator& job) {
    return job.place();
}

void finish(Communicator& job) {
    job.finish();
}

}  // namespace onecycle
