#include "data/image_check.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "core/threads.h"
#include "data/codecs.h"
#include "data/decode_budget.h"
#include "data/image_place.h"
#include "onecycle/image.h"

namespace onecycle {

void CheckProgress::one_more() {
    constexpr std::int64_t every = 256;
    const std::int64_t done = done_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (tell_ && (done % every == 0 || owed_.load(std::memory_order_relaxed))) {
        const bool mine = std::this_thread::get_id() == caller_;
        owed_.store(!mine, std::memory_order_relaxed);
        if (mine) tell_(done, all_);
    }
}

namespace {

// Reads an image to its end, unless an earlier run did. Throws ImageError.
void check_image(Sample& sample, const DatasetOptions& options, const ImageLimits& limits) {
    const auto is_allowed = [&] {
        const std::int64_t pixels = std::int64_t{sample.width} * sample.height;
        return pixels <= limits.max_pixels &&
               most_decode_bytes(static_cast<std::uint64_t>(pixels), sample.bytes) <= limits.memory->bytes();
    };
    const bool in_index = sample.content != 0;  // of a shard, which has not changed since
    if (in_index && is_allowed()) return;
    const std::string path = sample.path();
    named(path, [&] {
        // Its time before it is read: if it changes meanwhile, it has another at the next look.
        const OpenImage file(sample.place);
        sample.bytes = file.bytes();
        sample.changed = file.changed();
        if (options.checked_before && options.checked_before(sample) && is_allowed()) return;
        const std::vector<std::uint8_t> bytes = file.read(limits.max_file_bytes);
        const ImageProbe probe = probe_image(bytes, path, limits);
        sample.bytes = bytes.size();
        sample.content = content_hash(bytes);
        const bool on_its_side = probe.orientation >= 5;
        sample.width = on_its_side ? probe.height : probe.width;
        sample.height = on_its_side ? probe.width : probe.height;
    });
}

}  // namespace

void check_and_measure(std::vector<Sample>& samples, const DatasetOptions& options,
                       const std::shared_ptr<DecodeBudget>& budget, CheckProgress& progress,
                       std::vector<BadImage>& bad) {
    ImageLimits limits = limits_with(options.max_pixels);
    limits.memory = budget;
    std::mutex mutex;
    std::vector<std::size_t> places;  // of bad ones
    // Many at a time: taking a number costs as much as looking an image up.
    constexpr std::size_t many = 64;
    for_each_index((samples.size() + many - 1) / many, options.threads, [&](std::size_t part) {
        for (std::size_t k = part * many; k < std::min(samples.size(), (part + 1) * many); ++k) {
            if (const int signal = options.stop ? options.stop() : 0) throw Interrupted(signal);
            try {
                check_image(samples[k], options, limits);
            } catch (const ImageError& error) {
                const std::lock_guard lock(mutex);
                bad.push_back({samples[k].path(), error.reason()});
                places.push_back(k);
            }
            progress.one_more();
        }
    });
    if (places.empty()) return;
    std::sort(places.begin(), places.end());
    auto next = places.begin();
    std::size_t k = 0;
    std::erase_if(samples, [&](const Sample&) {
        const bool is_bad = next != places.end() && *next == k++;
        if (is_bad) ++next;
        return is_bad;
    });
}

namespace {

// What was found out about the images of one shard goes into its index.
class IndexNotes {
  public:
    explicit IndexNotes(ShardIndex& index) : index_(index) {
        for (std::uint32_t k = 0; k < index.images.size(); ++k)
            if (index.images[k].content == 0 && index.images[k].fault < 0)
                unknown_.emplace_back(index.images[k].offset, k);
        std::sort(unknown_.begin(), unknown_.end());
    }

    // Several images may lie at one place, by hard links.
    void add(const Sample& sample) {
        const std::uint64_t offset = sample.place.record()->offset;
        for (auto at =
                 std::lower_bound(unknown_.begin(), unknown_.end(), std::pair(offset, std::uint32_t{0}));
             at != unknown_.end() && at->first == offset; ++at) {
            ShardImage& image = index_.images[at->second];
            image.content = sample.content;
            image.width = sample.width;
            image.height = sample.height;
        }
    }

    bool any() const { return !unknown_.empty(); }

  private:
    ShardIndex& index_;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> unknown_;  // offset, number
};

}  // namespace

void note_in_indices(const Dataset& dataset, ShardReading& shards) {
    std::unordered_map<const Shard*, IndexNotes> notes;
    std::vector<bool> changed;
    for (ShardIndex& index : shards.indices)
        changed.push_back(notes.try_emplace(index.shard.get(), index).first->second.any() || index.is_new);
    for (const std::vector<Sample>* side : {&dataset.train, &dataset.valid})
        for (const Sample& sample : *side)
            if (const Shard* const shard = sample.place.record()->home->shard.get())
                notes.at(shard).add(sample);
    shards.keep(changed);
}

}  // namespace onecycle
