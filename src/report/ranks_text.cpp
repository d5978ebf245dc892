#include "report/ranks_text.h"

#include <fmt/format.h>

#include "report/text.h"

namespace onecycle {

namespace {

std::string links_line(const Links& links) {
    return fmt::format(
        "Links of a rank, one way: {:.4g} GB/s and {:.3g} us a hop in a node of {}, {:.4g} GB/s and {:.3g} "
        "us "
        "between nodes\n",
        links.inside / 1e9, links.inside_hop * 1e6, links.node, links.between / 1e9, links.between_hop * 1e6);
}

}  // namespace

std::string ranks_text(const Profile& profile, const ScaleForecast& forecast) {
    const double ms = 1e3;
    double bytes = 0;
    int buckets = 0;
    for (const Transfer& transfer : forecast.transfers) {
        bytes += static_cast<double>(transfer.bytes);
        if (transfer.what.ends_with("gradients")) ++buckets;
    }
    std::string text = fmt::format(
        "\nOn several ranks, a prediction: {:.1f} MB are summed a step, gradients in {} buckets of about 8 "
        "MiB "
        "while the backward pass goes on\n{}\n",
        bytes / 1e6, buckets, links_line(forecast.options.links));
    text +=
        " ranks  nodes  global batch  between nodes  on the wire ms  waited for ms   step ms     images/s  "
        "efficiency\n";
    for (const RanksForecast& f : forecast.ranks)
        text += fmt::format("{:6}{:7}{:14}{:>15}{:16.3f}{:15.3f}{:10.3f}{:13.0f}{:10.1f} %\n", f.ranks,
                            f.nodes, std::int64_t{f.ranks} * profile.options.train.batch_size,
                            f.between.empty() ? "-" : f.between, f.wire * ms, f.exposed * ms, f.step * ms,
                            f.images_per_second, 100 * f.efficiency);
    text += "\nbucket               MB  ready ms";
    for (const RanksForecast& f : forecast.ranks)
        text += fmt::format("{:>20}", fmt::format("{} ranks", f.ranks));
    text += '\n';
    for (std::size_t i = 0; i < forecast.transfers.size(); ++i) {
        const Transfer& transfer = forecast.transfers[i];
        text += fmt::format("{}{:9.3f}{:10.3f}", pad_right(transfer.what, 14),
                            static_cast<double>(transfer.bytes) / 1e6, transfer.ready * ms);
        for (const RanksForecast& f : forecast.ranks)
            text += fmt::format("{:>20}", fmt::format("{:.3f} to {:.3f}", f.starts[i] * ms, f.ends[i] * ms));
        text += '\n';
    }
    text += fmt::format("\nEach rank takes {:.0f} images/s, and has {:.3g} cores to make them:\n\n",
                        forecast.images_per_rank, forecast.options.cores);
    text += "input             a core makes  cores a rank  cores a node  enough\n";
    for (const InputForecast& input : forecast.inputs)
        text +=
            pad_right(input.name, 17) +
            (input.images_per_core > 0 ? fmt::format("{:13.0f}{:14.1f}{:14.0f}", input.images_per_core,
                                                     input.cores, input.cores * forecast.options.links.node)
                                       : fmt::format("{:>13}{:14}{:14}", "-", 0, 0)) +
            (input.enough ? "  yes\n" : "  no\n");
    return text;
}

}  // namespace onecycle
