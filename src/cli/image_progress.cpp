#include "cli/image_progress.h"

#include <fmt/format.h>

#include "report/text.h"

namespace onecycle::cli {

void ImageProgress::done(std::int64_t images) {
    // Nothing is worth saying of what takes an instant, nor of what is over.
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    if (images <= 0 || images >= images_ || seconds < 1 || !console_.progress_due()) return;
    const double pace = static_cast<double>(images) / seconds;
    const std::string figures =
        fmt::format("{}/{}  {} images/s  {} left", images, images_, short_number(pace, 3),
                    duration(static_cast<double>(images_ - images) / pace));
    console_.progress(console_.bar()
                          ? bar_line(activity_, static_cast<double>(images) / static_cast<double>(images_),
                                     figures, console_.width())
                          : activity_ + "  " + figures);
}

}  // namespace onecycle::cli
