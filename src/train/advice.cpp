#include "train/advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/echoed.h"
#include "train/memory_need.h"

namespace onecycle {

namespace {

constexpr double long_training = 600;    // seconds
constexpr std::int64_t few_steps = 200;  // too few for one cycle to show what it can
constexpr std::size_t classes_listed = 12;

std::string classes_line(const LearnerCore& core) {
    const std::size_t k = core.class_names.size();
    const auto train = class_counts(core.dataset.train, k), valid = class_counts(core.dataset.valid, k);
    if (k > classes_listed) {
        const auto [least, most] = std::minmax_element(train.begin(), train.end());
        return fmt::format("training images per class: {} ({}) to {} ({})", *least,
                           echoed(core.class_names[static_cast<std::size_t>(least - train.begin())]), *most,
                           echoed(core.class_names[static_cast<std::size_t>(most - train.begin())]));
    }
    std::string line = "images per class (training + evaluation):";
    for (std::size_t c = 0; c < k; ++c)
        line += fmt::format("{} {} {} + {}", c ? "," : "", echoed(core.class_names[c]), train[c], valid[c]);
    return line;
}

std::string counted(std::int64_t n, const char* thing) {
    return fmt::format("{} {}{}", n, thing, n == 1 ? "" : "s");
}

std::string sizes_line(const TrainOptions& options) {
    std::string line;
    for (const SizedEpochs& part : sizes_of(options))
        line += fmt::format(
            "{} of {} px",
            line.empty() ? counted(part.epochs, "epoch") : ", then " + std::to_string(part.epochs),
            part.size);
    return line;
}

std::string shares_line(const LearnerCore& core) {
    const int shares = core.options.shares, ranks = core.place().ranks, parts = std::gcd(shares, ranks);
    std::string line;
    if (core.resident && parts > 1)
        line = fmt::format("resident: 1/{} of the images on each of {} devices, {} each; ", parts, ranks,
                           memory_text(core.resident->bytes()));
    return line + fmt::format(
                      "a batch is drawn from one of {} shares of the images, which the run goes by on "
                      "any other machine (\"shares\" in config.json)",
                      shares);
}

std::string few_steps_line(const LearnerCore& core, std::int64_t steps) {
    const std::int64_t epochs = (few_steps + core.steps_per_epoch() - 1) / core.steps_per_epoch();
    return fmt::format(
        "{} in all is too few: --epochs {} would make {}; a smaller --batch-size or more images "
        "help too",
        counted(steps, "step"), epochs, epochs * core.steps_per_epoch());
}

}  // namespace

std::string duration_text(double seconds) {
    if (seconds < 90) return fmt::format("{:.0f} s", std::ceil(seconds));
    if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
    return fmt::format("{:.1f} h", seconds / 3600);
}

std::vector<std::string> describe(const LearnerCore& core) {
    const TrainOptions& o = core.options;
    const std::int64_t steps = all_epochs(o) * core.steps_per_epoch();
    std::vector<std::string> lines;
    lines.push_back(fmt::format("{} classes, {} images to train on, {} to evaluate on",
                                core.class_names.size(), core.dataset.train.size(),
                                core.dataset.valid.size()));
    lines.push_back(classes_line(core));
    if (!core.evaluates())
        lines.push_back("no evaluation (--valid-fraction 0): the last checkpoint counts as the best");
    lines.push_back(fmt::format("{}, {:.1f} million parameters, {}; {} px, batch {}{}, {}, on {}", o.arch,
                                static_cast<double>(core.network.parameter_count()) / 1e6,
                                o.init == "random" ? "from scratch" : "from " + echoed(o.init), core.size(),
                                core.step.batch(), o.accumulate > 1 ? fmt::format(" x {}", o.accumulate) : "",
                                to_string(o.optimizer), core.engine.device->name()));
    if (const RankPlace place = core.place(); place.ranks > 1)
        lines.push_back(fmt::format("{} ranks on {}, each with a batch of its own: {} images an update",
                                    place.ranks, counted(place.nodes, "machine"), core.images_per_step()));
    if (o.shares > 1) lines.push_back(shares_line(core));
    lines.push_back(fmt::format("{} of {}: {}", counted(all_epochs(o), "epoch"),
                                counted(core.steps_per_epoch(), "step"), counted(steps, "step")));
    if (o.freeze_epochs > 0)
        lines.push_back(fmt::format("first {} of the head alone{}; then, at half the rate, {}",
                                    counted(o.freeze_epochs, "epoch"),
                                    o.freeze_bn ? "" : " and the body's batch norms",
                                    o.freeze == "none" ? "of everything" : "of all but " + o.freeze));
    if (!o.sizes.empty()) lines.push_back(sizes_line(o));
    if (steps < few_steps) lines.push_back(few_steps_line(core, steps));
    const int smallest = std::ranges::min(sizes_of(o), {}, &SizedEpochs::size).size;
    if (smallest < 64 && o.stem == Stem::imagenet && core.architecture.smallest_size_small_stem)
        lines.push_back(
            fmt::format("images of {} px lose most detail in the imagenet stem: try --stem small", smallest));
    return lines;
}

int size_within(int size, int smallest, double seconds, double limit) {
    for (int smaller = (size - 1) / 32 * 32; smaller >= smallest; smaller -= 32) {
        const double ratio = static_cast<double>(smaller) / size;
        if (seconds * ratio * ratio <= limit) return smaller;
    }
    return 0;
}

void Pace::step_done() {
    const Clock::time_point now = Clock::now();
    if (started_) {
        const double seconds = std::chrono::duration<double>(now - last_).count();
        ++counted_;
        // A plain mean at first, then a moving one.
        average_ += (seconds - average_) * std::max(1.0 / static_cast<double>(counted_), 0.1);
    }
    started_ = true;
    last_ = now;
}

double epochs_left(const LearnerCore& core, std::int64_t epoch) {
    std::int64_t end = 0;
    double left = 0;
    for (const SizedEpochs& part : sizes_of(core.options)) {
        const std::int64_t begin = std::max(end, epoch);
        end += part.epochs;
        const double side = static_cast<double>(part.size) / core.size();
        if (begin < end) left += static_cast<double>(end - begin) * side * side;
    }
    return left;
}

double evaluation_seconds(const LearnerCore& core, double seconds_per_step) {
    return seconds_per_step / 3 * static_cast<double>(core.dataset.valid.size()) /
           static_cast<double>(core.images_per_step());
}

void give_time_estimate(LearnerCore& core, const Pace& pace, std::int64_t find_steps) {
    constexpr std::int64_t first_steps = 3;
    if (core.estimate_given || pace.counted() < first_steps) return;
    core.estimate_given = true;
    const TrainOptions& o = core.options;
    const double step = pace.seconds_per_step();
    const double find = step * static_cast<double>(find_steps);
    const double train = epochs_left(core, 0) * (step * static_cast<double>(core.steps_per_epoch()) +
                                                 evaluation_seconds(core, step));
    std::string line = fmt::format("{:.2g} s a step: ", step);
    if (find_steps) line += fmt::format("about {} for the range test and ", duration_text(find));
    line += fmt::format("about {} for training, on this machine", duration_text(train));
    core.log(LogLevel::info, line);
    if (find + train <= long_training) return;
    const int smallest = o.stem == Stem::imagenet ? 64 : 32;
    if (const int size = o.sizes.empty() ? size_within(o.size, smallest, find + train, long_training) : 0)
        core.log(LogLevel::info, fmt::format("--size {} would bring it below 10 minutes", size));
    else
        core.log(LogLevel::info, "fewer --epochs or a smaller --arch would shorten it");
}

}  // namespace onecycle
