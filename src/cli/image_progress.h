// How far a work on many images has come, said on the console.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "cli/console.h"

namespace onecycle::cli {

class ImageProgress {
  public:
    // `activity`: "eval".
    ImageProgress(Console& console, std::string activity, std::int64_t images)
        : console_(console), activity_(std::move(activity)), images_(images) {}

    // So many are done. Says something when it is time to.
    void done(std::int64_t images);

  private:
    Console& console_;
    std::string activity_;
    std::int64_t images_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace onecycle::cli
