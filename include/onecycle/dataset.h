// A folder of images as labelled lists: which files belong to which class, and to training or
// evaluation.
//
//   DATA/train/<class>/...  and DATA/val/<class>/...   (other names of sides: see docs/data.md; or valid_dir)
//   DATA/<class>/...                                    split automatically
//   DATA.tar, DATA/train-*.tar and DATA/val-*.tar       shards: archives that hold such folders, or
//                                                       key.jpg beside key.cls or key.json
//
// Classes are the folder names, sorted by bytes, or the labels that a table or the file names say.
// Hidden names and what systems leave behind are ignored. Inside a class folder files are found at
// any depth, and symbolic links are followed. Paths are bytes; class names that are equal after
// Unicode normalisation are one class.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "onecycle/error.h"
#include "onecycle/log.h"

namespace onecycle {

class DecodeBudget;  // see image.h

// Where an image's bytes lie: a file, or a part of a shard. Its names share the memory of those it
// was listed with, so that a list of millions stays small.
class ImagePlace {
  public:
    ImagePlace() = default;
    // A file of its own.
    ImagePlace(const std::string& path, const std::string& name);

    // Can be opened by read_image(). Of an image in a shard: SHARD.tar/<member>.
    std::string path() const;
    // Relative to its side's folder: "<class>/..."; with a table, to DATA. Valid as long as any
    // copy of this place.
    std::string_view name() const;

    struct Record;
    explicit ImagePlace(std::shared_ptr<const Record> record) : record_(std::move(record)) {}
    const Record* record() const { return record_.get(); }  // null: nowhere

  private:
    std::shared_ptr<const Record> record_;
};

struct Sample {
    ImagePlace place{};
    int label = 0;              // index in Dataset::classes
    int width = 0, height = 0;  // in pixels, upright; 0 where nobody has looked
    std::uint64_t bytes = 0;    // size of the file when the list was made
    // content_hash() of the file when the list was made; 0 where nobody has looked.
    std::uint64_t content = 0;
    // When the file was last changed, in nanoseconds since 1970; 0 likewise. Of an image in a
    // shard: when the shard was.
    std::int64_t changed = 0;

    std::string path() const { return place.path(); }
    std::string_view name() const { return place.name(); }
};

struct BadImage {
    std::string path;
    std::string reason;  // "truncated", "empty file", ...
};

// An image cannot be used and nothing may take its place.
class UnusableImage : public Error {
  public:
    // `option`: what allows going on without the image: "--bad-images skip", say; empty where
    // nothing does.
    UnusableImage(const std::string& where, const std::string& why, const std::string& option);

    const std::string& where() const noexcept { return where_; }
    const std::string& why() const noexcept { return why_; }
    const std::string& option() const noexcept { return option_; }

  private:
    std::string where_, why_, option_;
};

enum class BadImages { skip, fail };
BadImages parse_bad_images(const std::string& name);  // "skip" or "fail", else Error(usage)

// What the folder is opened for. For evaluation, only the evaluation side is opened where there is
// one (train is empty; the classes are the folders of both sides), and a single class will do;
// class folders alone are split as for training, so that digest() tells whether it is the folder of
// that training. everything: as evaluation, but both sides are opened.
enum class DatasetUse { training, evaluation, everything };

struct DatasetOptions {
    // The evaluation side's folder; empty: val, else valid, else test in DATA.
    std::string valid_dir;
    // Of each class, when the split is automatic; in [0, 1); 0: no split.
    double valid_fraction = 0.2;
    std::uint64_t seed = 0;  // keys the automatic split
    // Globs, against paths below DATA: what they match is not seen.
    std::vector<std::string> exclude{};
    // Labels from elsewhere than class folders, one of: a CSV file with the columns file, label and
    // perhaps split; a regular expression (ECMAScript) whose first group in the file's name is the
    // label.
    std::string labels{}, label_from{};
    BadImages bad_images = BadImages::skip;
    double max_bad = 0.05;                  // a larger fraction of bad files is an error
    std::int64_t max_pixels = 178'956'970;  // larger images are bad; see ImageLimits
    // Bytes that decoding may take, over all threads; an image that needs more is bad. 0: a quarter
    // of what is free.
    std::uint64_t decode_memory = 0;
    int threads = 1;  // that read files for the check
    DatasetUse use = DatasetUse::training;
    std::function<int()> stop{};  // asked for each file of the check; not 0: Interrupted is thrown
    // Says whether an earlier run has read a file of this path, size and time to its end, and then
    // fills in what that found: the file is not read again. Empty: every file is read.
    std::function<bool(Sample&)> checked_before{};
    // Where the indices of shards are kept, so that the next start need not read the shards; empty:
    // nowhere.
    std::string index_folder{};
    // Told on the calling thread how far the look at the images has come: `of` is 0 while they are
    // still counted.
    std::function<void(std::int64_t images, std::int64_t of)> progress{};
    LogSink log;  // gets warnings: bad files (the first ten), ignored files
};

// What a data set was opened from, and how. Opened so again, an unchanged folder splits alike.
struct DatasetOrigin {
    std::string folder{};  // empty where a program put the lists together itself
    // As in DatasetOptions.
    std::string valid_dir{};
    double valid_fraction = 0;
    std::uint64_t seed = 0;
    std::vector<std::string> exclude{};
    std::string labels{}, label_from{};
};

struct Dataset {
    std::vector<std::string> classes;  // sorted by bytes
    std::vector<Sample> train;         // sorted by label, then name; the index is the sample's id
    std::vector<Sample> valid;         // likewise
    bool automatic_split = false;      // both sides were drawn from one set of class folders
    // Folder of the training side's class folders (empty: there is none).
    std::string train_dir;
    std::string valid_dir;      // folder of the evaluation side's
    std::vector<BadImage> bad;  // what was left out, sorted by path
    DatasetOrigin origin;
    // Of DatasetOptions::decode_memory; null where a program put the lists together itself.
    std::shared_ptr<DecodeBudget> decode_budget{};
};

// Finds the files, checks every one whole (probe_image; or checked_before), leaves out the bad
// ones, then splits: so the result is the same as for a folder without them, and does not depend on
// the file system's order. Shards are read once into an index; what is in them counts as files of
// the folders that their members' names make. A class of two images or more goes to both sides of
// an automatic split; a single image to training. A test folder without labels that training knows
// is not evaluated on. With a valid_fraction of 0, valid is empty. Errors (data): no such folder,
// not a folder, no class folders (says what was found instead), a shard that is compressed, cut off
// or no archive, shards and images side by side, one class only, a class without images, a class in
// the evaluation side that training lacks, too many bad files, any bad file under BadImages::fail.
Dataset open_dataset(const std::string& path, const DatasetOptions& options = {});

// Both sides in one list, by label, then name: everything in a folder of class folders.
std::vector<Sample> all_samples(const Dataset& dataset);

// Images per class.
std::vector<std::int64_t> class_counts(const std::vector<Sample>& samples, std::size_t classes);

// Of a file's bytes (XXH3, 64 bits), never 0: tells whether a file is still what it was.
std::uint64_t content_hash(std::span<const std::uint8_t> bytes);

// 32 hexadecimal digits (XXH3, 128 bits) of classes, names, sizes and sides: equal for equal file
// lists, wherever the folder lies. A checkpoint keeps it.
std::string digest(const Dataset& dataset);

}  // namespace onecycle
