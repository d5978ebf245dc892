#include <fmt/format.h>

#include <algorithm>

#include "onecycle/chart.h"
#include "onecycle/error.h"
#include "onecycle/evaluation.h"
#include "report/text.h"

namespace onecycle {

using namespace chart;

namespace {

constexpr std::size_t most_names = 50;

}  // namespace

std::string confusion_svg(const Evaluation& e, const std::string& title) {
    const std::size_t k = e.confusion.size();
    const bool named = k <= most_names;
    std::vector<std::string> names;
    std::size_t longest = 0;
    for (const ClassResult& c : e.per_class) {
        names.push_back(shortened(printable(c.name), 20));
        longest = std::max(longest, static_cast<std::size_t>(columns(names.back())));
    }
    const double labels = named ? 7.1 * static_cast<double>(longest) + 16 : 30;
    const double x0 = std::max(SvgPicture::left, labels), side = SvgPicture::width - SvgPicture::right - x0;
    const double cell = std::min(side / static_cast<double>(std::max<std::size_t>(k, 1)), 64.0);
    const double grid = cell * static_cast<double>(k);

    SvgPicture picture(
        grid + labels + 40, title,
        fmt::format("{} images, accuracy {:.1f} %. True class by row, the model's answer by column; "
                    "shades are shares of the row.",
                    e.n, 100 * e.accuracy));
    const double y0 = picture.top() + labels + 8;
    for (std::size_t i = 0; i < k; ++i) {
        const double middle = (static_cast<double>(i) + 0.5) * cell;
        if (named) {
            picture.text(x0 - 8, y0 + middle + 4.5, names[i], SvgPicture::Anchor::end);
            picture.text(x0 + middle + 4.5, y0 - 8, names[i], SvgPicture::Anchor::start, -90);
        }
        for (std::size_t j = 0; j < k; ++j) {
            const std::int64_t count = e.confusion[i][j];
            if (count == 0) continue;
            const double share = static_cast<double>(count) / static_cast<double>(e.per_class[i].count);
            const double x = x0 + static_cast<double>(j) * cell, y = y0 + static_cast<double>(i) * cell;
            picture.box({x, y, cell, cell}, i == j ? Ink::good : Ink::bad, 0.06 + 0.54 * share,
                        fmt::format("{}, taken for {}: {} of {}", printable(e.per_class[i].name),
                                    printable(e.per_class[j].name), count, e.per_class[i].count));
            if (cell >= 8.5 * static_cast<double>(fmt::to_string(count).size()) && cell >= 16)
                picture.text(x + cell / 2, y + cell / 2 + 4.5, fmt::to_string(count),
                             SvgPicture::Anchor::middle);
        }
    }
    picture.frame({x0, y0, grid, grid});
    return picture.finish();
}

}  // namespace onecycle
