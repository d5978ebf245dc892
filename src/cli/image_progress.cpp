#include "cli/image_progress.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "report/text.h"

namespace onecycle::cli {

void ImageProgress::done(std::int64_t images, std::int64_t of) {
    // Nothing is worth saying of what takes an instant, nor of what is over.
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    if (images <= 0 || (of > 0 && images >= of) || seconds < 1 || !console_.progress_due()) return;
    if (of == 0) return console_.progress(fmt::format("{}  {} images found", activity_, images));
    const double pace = static_cast<double>(images) / seconds;
    const std::string figures = fmt::format("{}/{}  {} images/s  {} left", images, of, short_number(pace, 3),
                                            duration(static_cast<double>(of - images) / pace));
    console_.progress(console_.bar()
                          ? bar_line(activity_, static_cast<double>(images) / static_cast<double>(of),
                                     figures, console_.width())
                          : activity_ + "  " + figures);
}

std::function<void(std::int64_t, std::int64_t)> look_progress(Console& console) {
    struct Look {
        ImageProgress count, check;  // the pace is that of the check alone
        bool checks = false;
    };
    const auto look = std::make_shared<Look>(Look{{console, "look", 0}, {console, "look", 0}});
    return [look, &console](std::int64_t images, std::int64_t of) {
        if (of == 0) return look->count.done(images, of);
        if (!std::exchange(look->checks, true)) look->check.begin_now();
        look->check.done(images, of);
        if (images == of) console.end_progress();
    };
}

}  // namespace onecycle::cli
