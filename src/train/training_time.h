// How long the epochs of a training take, and how many images they see.
#pragma once

#include <chrono>
#include <cstdint>

namespace onecycle {

class Stopwatch {
  public:
    double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point start_ = Clock::now();
};

struct TrainingTime {
    double training = 0;      // seconds, of this epoch
    double evaluation = 0;    // seconds, of the last evaluation; 0: there was none at this size
    std::int64_t images = 0;  // trained with, in this epoch

    double images_per_second() const { return training > 0 ? static_cast<double>(images) / training : 0; }
    void next_epoch() {
        all_training_ += training;
        all_images_ += images;
        training = 0;
        images = 0;
    }
    // Of all epochs before this one.
    double mean_images_per_second() const {
        return all_training_ > 0 ? static_cast<double>(all_images_) / all_training_ : 0;
    }

  private:
    double all_training_ = 0;
    std::int64_t all_images_ = 0;
};

}  // namespace onecycle
