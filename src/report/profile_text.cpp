#include "report/profile_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "report/text.h"

namespace onecycle {

namespace {

struct Row {
    std::string what, on;  // operation or step; shape
    int first = 0, steps = 0;
    double flops = 0, bytes = 0, limit = 0, seconds = 0;  // of all steps together

    void add(const ProfiledStep& step) {
        ++steps;
        flops += step.flops;
        bytes += step.bytes;
        limit += step.limit;
        seconds += step.seconds.value_or(0);
    }
};

// Rows of steps with the same key, in the order of their first step.
template <typename Key>
std::vector<Row> grouped(const Profile& profile, const Key& key) {
    std::vector<Row> rows;
    std::map<std::string, std::size_t> place;
    for (std::size_t i = 0; i < profile.steps.size(); ++i) {
        Row row = key(profile.steps[i], i);
        const auto [found, fresh] = place.try_emplace(row.what + '\n' + row.on, rows.size());
        if (fresh) {
            row.first = static_cast<int>(i);
            rows.push_back(row);
        }
        rows[found->second].add(profile.steps[i]);
    }
    return rows;
}

class Tables {
  public:
    explicit Tables(const Profile& profile)
        : profile_(profile),
          measured_(profile.seconds().has_value()),
          micro_(profile.limit() < 0.05 && profile.seconds().value_or(0) < 0.1) {}

    std::string steps(bool slowest_first) const {
        std::vector<Row> rows = grouped(profile_, [](const ProfiledStep& step, std::size_t i) {
            return Row{fmt::format("{:4} {:8} {} {}", i, step.phase, step.branch, step.name),
                       step.operation + " [" + step.implementation + "]"};
        });
        return table("step phase    branch name", "operation [implementation]", rows, slowest_first, true);
    }
    std::string shapes(bool slowest_first) const {
        std::vector<Row> rows = grouped(profile_, [](const ProfiledStep& step, std::size_t) {
            return Row{step.operation, step.shape};
        });
        return table("steps operation", "on each image", rows, slowest_first, true, true);
    }
    std::string operations() const {
        std::vector<Row> rows = grouped(profile_, [](const ProfiledStep& step, std::size_t) {
            return Row{step.operation, ""};
        });
        return table("steps operation, all together", "", rows, true, false, true);
    }

    std::string time(double seconds) const {
        return micro_ ? fmt::format("{:.1f}", seconds * 1e6) : fmt::format("{:.3f}", seconds * 1e3);
    }
    const char* unit() const { return micro_ ? "us" : "ms"; }

  private:
    bool share() const { return measured_ && profile_.comparable; }

    // `each`: figures of one step of a row, not of all.
    std::string table(const std::string& first, const std::string& second, std::vector<Row> rows,
                      bool slowest_first, bool each, bool counted = false) const {
        const auto cost = [&](const Row& row) { return measured_ ? row.seconds : row.limit; };
        if (slowest_first)
            std::stable_sort(rows.begin(), rows.end(),
                             [&](const Row& a, const Row& b) { return cost(a) > cost(b); });
        int wide = columns(first), wide2 = columns(second);
        for (Row& row : rows) {
            if (counted) row.what = fmt::format("{:5} {}", row.steps, row.what);
            wide = std::max(wide, columns(row.what));
            wide2 = std::max(wide2, columns(row.on));
        }
        std::string text = pad_right(first, wide) + (wide2 ? "  " + pad_right(second, wide2) : "") +
                           "     GFLOP        MB" + pad_left(std::string("limit ") + unit(), 11);
        if (measured_) text += pad_left(std::string("time ") + unit(), 11);
        if (share()) text += "   share";
        text += '\n';
        for (const Row& row : rows) {
            const double n = each ? row.steps : 1;
            text += pad_right(row.what, wide) + (wide2 ? "  " + pad_right(row.on, wide2) : "") +
                    fmt::format("{:10.3f}{:10.2f}{:>11}", row.flops / n / 1e9, row.bytes / n / 1e6,
                                time(row.limit / n));
            if (measured_) text += fmt::format("{:>11}", time(row.seconds / n));
            if (share()) text += fmt::format("{:6.0f} %", 100 * row.limit / row.seconds);
            text += '\n';
        }
        return text;
    }

    const Profile& profile_;
    bool measured_, micro_;
};

std::string rate(const Profile& profile, double seconds) {
    return fmt::format("{:.3f} ms, {:.0f} images/s", seconds * 1e3,
                       profile.options.train.batch_size / seconds);
}

}  // namespace

std::string profile_text(const Profile& profile, ProfileRows rows, bool slowest_first) {
    const TrainOptions& train = profile.options.train;
    const Tables tables(profile);
    std::string text = fmt::format(
        "One training step of {} at {} px, batch {}, {}, {}: {} steps, {:.1f} GFLOP, {:.1f} MB moved, "
        "{:.1f} MB of activations and workspace\n",
        train.arch, train.size, train.batch_size, profile.precision, to_string(train.optimizer),
        profile.steps.size(), profile.flops() / 1e9, profile.bytes() / 1e6,
        static_cast<double>(profile.arena_bytes) / 1e6);
    text += profile.whole ? "Device: " + profile.device + "\n" : "Not run: what the limits allow at best\n";
    text += fmt::format("Limits: {:.1f} GB/s, {:.2f} TFLOP/s ({})\n", profile.limits.bytes_per_second / 1e9,
                        profile.limits.flops_per_second / 1e12, profile.limits.source);
    if (profile.load)
        text += fmt::format("Other programs: {:.1f} of {:.0f} processors\n", profile.load->others,
                            profile.load->processors);
    text += '\n';
    if (rows == ProfileRows::step) text += tables.steps(slowest_first) + "\n";
    if (rows == ProfileRows::shape) text += tables.shapes(slowest_first) + "\n";
    text += tables.operations();
    text += fmt::format("\nAt the limits, one step after the other: {}\n", rate(profile, profile.limit()));
    if (!profile.whole) {
        if (rows == ProfileRows::step)
            text += "[own]: a kernel of ours; [cuDNN], [cuBLAS]: what these libraries compute on a GPU.\n";
        text +=
            "A prediction: no step can be faster, real ones are slower. Steps on two branches may overlap.\n";
        return text;
    }
    text += fmt::format("Each step by itself, the sum: {}\n", rate(profile, *profile.seconds()));
    text += fmt::format("Launched as training launches it: {}; the first one took {:.2f} s, all included\n",
                        rate(profile, profile.whole->seconds), profile.whole->first);
    if (profile.whole->calls > 0)
        text += fmt::format("Runtime calls a launch: {:.4g}, of which {:.4g} wait\n", profile.whole->calls,
                            profile.whole->blocking_calls);
    if (profile.whole->updates != profile.whole->launches)
        text += fmt::format("Only {} of {} steps took effect: the others did less work\n",
                            profile.whole->updates, profile.whole->launches);
    if (profile.comparable)
        text +=
            "A share above 100 %: operands came from a cache, or an algorithm with fewer operations "
            "(Winograd).\n";
    else
        text += "The times are the emulator's on this processor. They say nothing about a GPU.\n";
    const std::vector<std::string> doubts = profile.doubts();
    for (const std::string& doubt : doubts) text += "warning: " + doubt + '\n';
    if (!doubts.empty())
        text += profile.before
                    ? "The limits and shares above cannot be trusted: repeat this on an idle machine, or "
                      "name the "
                      "limits with --limits.\n"
                    : "The shares above cannot be trusted: repeat this on an idle machine, or with other "
                      "--limits.\n";
    return text;
}

}  // namespace onecycle
