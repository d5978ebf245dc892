#include "report/ranks_text.h"

#include <fmt/format.h>

#include "report/text.h"

namespace onecycle {

namespace {

std::string links_line(const Links& links) {
    return fmt::format(
        "Links of a rank, one way: {:.4g} GB/s and {:.3g} us a hop in a node of {}, {:.4g} GB/s and {:.3g} "
        "us between nodes; {:.3g} us a message\n",
        links.inside / 1e9, links.inside_hop * 1e6, links.node, links.between / 1e9, links.between_hop * 1e6,
        links.message * 1e6);
}

}  // namespace

std::string ranks_text(const Profile& profile, const ScaleForecast& forecast) {
    const double ms = 1e3;
    std::string text =
        "\nOn several ranks, a prediction: they sum every bucket of gradients, first in groups of eight "
        "where nodes hold whole ones\n" +
        links_line(forecast.options.links) + '\n';
    text += " ranks  nodes  global batch  on the wire ms  waited for ms   step ms     images/s  efficiency\n";
    for (const RanksForecast& f : forecast.ranks)
        text += fmt::format("{:6}{:7}{:14}{:16.3f}{:15.3f}{:10.3f}{:13.0f}{:10.1f} %\n", f.ranks, f.nodes,
                            std::int64_t{f.ranks} * profile.options.train.batch_size, f.wire * ms,
                            f.exposed * ms, f.step * ms, f.images_per_second, 100 * f.efficiency);
    for (const RanksForecast& f : forecast.ranks) {
        if (f.transfers.empty()) continue;
        text += fmt::format("\n{} {:>9}  ready ms{:>20}\n", pad_right(fmt::format("{} ranks", f.ranks), 18),
                            "MB", "on its way ms");
        for (const Transfer& transfer : f.transfers)
            text += fmt::format("{} {:9.3f}{:10.3f}{:>20}\n", pad_right(transfer.name, 18),
                                transfer.bytes / 1e6, transfer.ready * ms,
                                fmt::format("{:.3f} to {:.3f}", transfer.start * ms, transfer.end * ms));
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
