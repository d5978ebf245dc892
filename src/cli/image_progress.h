// How far a work on many images has come, said on the console.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "cli/console.h"

namespace onecycle::cli {

class ImageProgress {
  public:
    // `activity`: "eval".
    ImageProgress(Console& console, std::string activity, std::int64_t images)
        : console_(console), activity_(std::move(activity)), images_(images) {}

    // The pace is reckoned from now on.
    void begin_now() { start_ = std::chrono::steady_clock::now(); }
    // So many are done. Says something when it is time to.
    void done(std::int64_t images) { done(images, images_); }
    // `of`: as the images were counted; 0: they are still being counted.
    void done(std::int64_t images, std::int64_t of);

  private:
    Console& console_;
    std::string activity_;
    std::int64_t images_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// The same for the look at all images before the first step, as DatasetOptions::progress.
std::function<void(std::int64_t, std::int64_t)> look_progress(Console& console);

}  // namespace onecycle::cli
