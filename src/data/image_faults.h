// Images that fail when their turn comes, though their files were good when the list was made:
// deleted, replaced, cut short, on a disk that no longer reads.
//
// An image is left out of every batch from the first that wanted it and could not have it. In
// training, the next sample of the epoch's order takes its place (SampleOrder::sample_at()); an
// evaluation is over the others. So what a batch holds follows from its number and this record
// alone, which a checkpoint keeps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "onecycle/dataset.h"

namespace onecycle {

struct ImageFault {
    bool training = true;     // which side's list
    std::int64_t sample = 0;  // index in that list
    std::int64_t from = 0;    // the number of the first batch without it
    std::string path{}, reason{};
    bool operator==(const ImageFault&) const = default;
};

// The record for both sides. Its functions may be called on any thread, but `log` is called by
// name_until() alone.
class ImageFaults {
  public:
    struct Rules {
        BadImages bad_images = BadImages::skip;
        double max_bad = DatasetOptions{}.max_bad;  // a larger fraction of images is an error
        std::size_t images = 0;    // of both sides and what was left out of them; 0: no bound
        std::size_t left_out = 0;  // when the list was made
        LogSink log{};
    };
    explicit ImageFaults(Rules rules) : rules_(std::move(rules)) {}

    bool left_out(bool training, std::int64_t sample, std::int64_t batch) const;

    // Throws UnusableImage where the rules do not allow the fault.
    void add(ImageFault fault);

    // Takes note of a file whose image is damaged and used all the same.
    void note_damaged(const std::string& path);

    // Names those of one side that batches up to this one met, each once, and damaged files; of
    // many, the first ten.
    void name_until(bool training, std::int64_t batch);

    // Takes over a checkpoint's record; nothing is named.
    void restore(const std::vector<ImageFault>& faults);

    // Those that training batches before this one met, and all of the evaluation side: by side and
    // sample.
    std::vector<ImageFault> before(std::int64_t batch) const;

  private:
    struct Entry {
        ImageFault fault;
        bool named = false;
    };

    Rules rules_;
    mutable std::mutex mutex_;
    std::map<std::pair<bool, std::int64_t>, Entry> entries_;  // by side and sample
    int lines_ = 0;                                           // that name one
    std::map<std::string, bool> damaged_;                     // whether it was named
    int damaged_lines_ = 0;
};

}  // namespace onecycle
