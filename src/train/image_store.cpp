#include "train/image_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/echoed.h"
#include "core/file.h"
#include "onecycle/error.h"
#include "train/stages.h"

namespace onecycle {

namespace {

// Evaluation views are small: this many bytes are kept where nothing else is said.
constexpr std::uint64_t evaluation_bound = std::uint64_t{256} << 20;
// So many pixels take the better part of a minute to decode.
constexpr double slow_to_decode = 5e9;

std::string megabytes(std::uint64_t bytes) {
    return fmt::format("{:.0f} MB", static_cast<double>(bytes) / 1e6);
}

}  // namespace

KeptRule training_rule(const TrainOptions& options, int size) {
    return {.size = crops_at_random(options.augment) ? largest_size(options) : size,
            .augment = options.augment,
            .crop_pct = options.crop_pct};
}

KeptRule evaluation_rule(const TrainOptions& options, int size) {
    return {.size = size, .augment = AugmentPolicy::none, .crop_pct = options.crop_pct};
}

std::string default_cache_folder() {
    const std::string folder = user_cache_folder();
    return folder.empty() ? "" : folder + "/images";
}

std::string cache_folder(const TrainOptions& options) {
    if (options.cache == "off") return "";
    return options.cache.empty() ? default_cache_folder() : options.cache;
}

std::shared_ptr<ImageCache> look_into_cache(const TrainOptions& options) {
    const std::string folder = cache_folder(options);
    if (folder.empty()) return nullptr;
    return std::make_shared<ImageCache>(
        posix_file_system(), folder, options.data,
        fmt::format("{} {} {}", largest_size(options), crops_at_random(options.augment), options.crop_pct));
}

StoreNeeds store_needs(const TrainOptions& options, const std::vector<Sample>& train,
                       const std::vector<Sample>& valid, bool on_device) {
    const int size = largest_size(options);
    StoreNeeds needs{.training = kept_bytes(training_rule(options, size), train),
                     .evaluation = kept_bytes(evaluation_rule(options, size), valid),
                     .on_device = on_device};
    for (const std::vector<Sample>* side : {&train, &valid})
        for (const Sample& sample : *side)
            needs.source_pixels += static_cast<std::uint64_t>(sample.width) * sample.height;
    return needs;
}

StoreChoice choose_store(const TrainOptions& options, const StoreNeeds& needs, std::uint64_t free) {
    const std::uint64_t all = needs.training + needs.evaluation, half = free / 2;
    StoreChoice choice{.evaluation_bytes = std::min(needs.evaluation, evaluation_bound)};
    const bool slow = static_cast<double>(needs.source_pixels) > slow_to_decode;
    if (options.input == "resident" && !needs.on_device) {
        if (all > free / 10 * 9)
            throw Error(ErrorKind::device, "not enough memory", "--input resident",
                        fmt::format("the images need {}, {} are free", megabytes(all), megabytes(free)),
                        "use --input auto");
        choice.training_bytes = needs.training;
    }
    if (!options.cache.empty() && options.cache != "off") {
        choice.folder = options.cache;
        choice.evaluation_bytes = 0;
        return choice;
    }
    if (options.input == "auto" && !needs.on_device) {
        if (all <= half) {
            choice.training_bytes = needs.training;
            choice.evaluation_bytes = needs.evaluation;
        } else if (options.cache.empty() && !default_cache_folder().empty()) {
            return {.folder = default_cache_folder(),
                    .line = fmt::format(
                        "the decoded images need {}, more than half of the free memory: they are kept in {} "
                        "(--cache DIR names another folder, --cache off keeps none)",
                        megabytes(all), echoed(default_cache_folder()))};
        } else {
            choice.training_bytes = half - std::min(half, choice.evaluation_bytes);
            choice.line = fmt::format(
                "the decoded images need {}, more than half of the free memory: {} are kept, the rest is "
                "decoded in every epoch",
                megabytes(all), megabytes(choice.training_bytes));
        }
    }
    if (slow && choice.line.empty() && options.cache.empty() && options.input != "stream")
        choice.line = fmt::format(
            "large images are decoded once, then kept in memory ({}); with --cache DIR "
            "the next start finds them decoded",
            megabytes(all));
    return choice;
}

}  // namespace onecycle
