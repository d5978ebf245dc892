#include "data/pack.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_set>

#include "core/digest.h"
#include "core/echoed.h"
#include "core/shell_quoted.h"
#include "core/threads.h"
#include "data/codecs.h"
#include "data/folder.h"
#include "data/sample_image.h"
#include "data/tar.h"
#include "onecycle/error.h"
#include "rules/rng.h"

namespace onecycle {

namespace {

using Record = nlohmann::ordered_json;

constexpr const char* record_name = "pack.json";
constexpr const char* classes_name = "classes.txt";
constexpr std::string_view shard_ending = ".tar";
constexpr std::size_t number_digits = 6;   // of a shard, at least
constexpr std::uint64_t end_bytes = 1024;  // of an archive

[[noreturn]] void refuse_folder(const std::string& folder, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::io, "cannot pack into", folder, why, fix);
}

std::vector<std::string> listed(FileSystem& fs, const std::string& folder) {
    std::vector<std::string> names;
    const int result = retried([&] { return fs.list(folder, names); });
    if (result == -ENOENT) return {};
    if (result < 0) throw file_error("cannot pack into", folder, -result);
    std::sort(names.begin(), names.end());
    return names;
}

bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

// Whether the name is that of a temporary file of a pack that was killed.
bool is_temporary(std::string_view name) {
    name = target_of_temporary(name);
    if (name == record_name || name == classes_name) return true;
    const std::size_t dash = name.find('-');
    if (dash == name.npos || !name.ends_with(shard_ending)) return false;
    const std::string_view side = name.substr(0, dash);
    name.remove_prefix(dash + 1);
    name.remove_suffix(shard_ending.size());
    return (side == "all" || side == "train" || side == "val") && name.size() >= number_digits &&
           is_number(name);
}

// The temporary files in the folder; what else has such a name is not the pack's.
std::vector<std::string> temporaries(FileSystem& fs, const std::string& folder,
                                     const std::vector<std::string>& names) {
    std::vector<std::string> found;
    FileStatus status;
    for (const std::string& name : names)
        if (is_temporary(name) && retried([&] { return fs.entry(folder + "/" + name, status); }) == 0 &&
            status.type == FileStatus::Type::regular)
            found.push_back(name);
    return found;
}

bool has_texts(const Record& entry, std::initializer_list<const char*> keys) {
    return entry.is_object() && std::ranges::all_of(keys, [&](const char* key) {
               return entry.contains(key) && entry[key].is_string();
           });
}

bool is_shard(const Record& entry) {
    return has_texts(entry, {"file", "digest"}) &&
           std::ranges::all_of(
               std::initializer_list<const char*>{"images", "bytes", "from", "to"},
               [&](const char* key) { return entry.contains(key) && entry[key].is_number_unsigned(); }) &&
           entry["from"] < entry["to"] &&
           entry["images"].get<std::uint64_t>() <=
               entry["to"].get<std::uint64_t>() - entry["from"].get<std::uint64_t>();
}

bool is_left_out(const Record& entry) {
    return has_texts(entry, {"shard", "file", "reason"});
}

bool is_record(const Record& record) {
    const auto holds = [&](const char* key, bool (*fits)(const Record&)) {
        return record.contains(key) && record[key].is_array() && std::ranges::all_of(record[key], fits);
    };
    return record.is_object() && holds("shards", is_shard) && holds("left_out", is_left_out);
}

// The record of an earlier pack in the folder; null: it is empty or not there.
Record record_in(FileSystem& fs, const std::string& folder) {
    const std::vector<std::string> names = listed(fs, folder);
    const bool has_record = std::find(names.begin(), names.end(), record_name) != names.end();
    if (!has_record) {
        // A pack that was killed before its record was there leaves a temporary file at most.
        if (temporaries(fs, folder, names).size() == names.size()) return nullptr;
        refuse_folder(folder, "it is not empty, and no pack was begun in it", "give a new or empty folder");
    }
    Record record = Record::parse(read_file(fs, folder + "/" + record_name), nullptr, false);
    if (!is_record(record))
        refuse_folder(folder, std::string("its ") + record_name + " is damaged",
                      "give a new or empty folder");
    return record;
}

std::string file_digest(FileSystem& fs, const std::string& path) {
    const InputFile file(fs, path);
    Digest digest;
    std::vector<std::byte> part(std::size_t{1} << 20);
    for (std::uint64_t at = 0; at < file.size(); at += part.size()) {
        part.resize(static_cast<std::size_t>(std::min<std::uint64_t>(part.size(), file.size() - at)));
        file.read_at(part, at);
        digest.update(part);
    }
    return digest.hex();
}

// Each class as a folder of its own that nobody passes over.
std::vector<std::string> folders_of(const std::vector<std::string>& classes) {
    std::set<std::string> taken(classes.begin(), classes.end());
    std::vector<std::string> folders;
    for (const std::string& name : classes) {
        std::string folder = name;
        std::replace(folder.begin(), folder.end(), '/', '_');
        if (folder.starts_with('.')) folder[0] = '_';
        // Python's webdataset takes "__x__" for a description of the shard.
        if (folder.starts_with("__") && folder.ends_with("__"))
            folder.erase(0, std::min(folder.find_first_not_of('_'), folder.size()) - 1);
        if (folder != name)
            while (!taken.insert(folder).second) folder += "_2";
        folders.push_back(std::move(folder));
    }
    return folders;
}

const char* ending_of(ImageFormat format) {
    switch (format) {
        case ImageFormat::jpeg:
            return "jpg";
        case ImageFormat::png:
            return "png";
        case ImageFormat::bmp:
            return "bmp";
        case ImageFormat::gif:
            return "gif";
        case ImageFormat::pnm:
            return "ppm";
        case ImageFormat::webp:
            return "webp";
        case ImageFormat::tiff:
            return "tif";
        case ImageFormat::heif:
            break;
    }
    return "heic";
}

struct Name {
    std::string key, ending;  // the ending is empty where the file has none
};

Name packed_name(const Sample& sample, const std::string& class_name, const std::string& folder) {
    std::string path(sample.name());
    if (path.starts_with(class_name + "/")) {
        path.replace(0, class_name.size(), folder);
    } else {
        while (path.starts_with("../") || path.starts_with("/")) path.erase(0, path.find('/') + 1);
        path = folder + "/" + path;
    }
    Name name;
    const std::size_t slash = path.rfind('/'), dot = path.rfind('.');
    if (dot != std::string::npos && dot > slash && has_image_ending(path.substr(slash + 1))) {
        name.ending = path.substr(dot + 1);
        path.resize(dot);
    }
    // Loaders take a key to end at the first dot.
    std::replace(path.begin() + static_cast<std::ptrdiff_t>(slash), path.end(), '.', '_');
    name.key = path;
    return name;
}

// The images of one side in the order in which they are packed.
class Side {
  public:
    Side(const Dataset& dataset, const std::vector<Sample>& samples, std::string name)
        : dataset_(dataset),
          samples_(samples),
          name_(std::move(name)),
          folders_(folders_of(dataset.classes)) {
        // Images of one name with different endings get keys of their own. The list is by class.
        std::unordered_set<std::string> keys;
        for (std::size_t k = 0; k < samples.size(); ++k) {
            if (k > 0 && samples[k].label != samples[k - 1].label) keys.clear();
            const std::string key = name_of(samples[k]).key;
            std::string own = key;
            for (int n = 2; !keys.insert(own).second; ++n) own = key + "_" + std::to_string(n);
            if (own != key) others_[k] = own;
        }
    }

    const std::string& name() const { return name_; }
    std::size_t size() const { return samples_.size(); }
    std::size_t index(std::size_t place) const {
        return static_cast<std::size_t>(permuted_index(place, samples_.size(), 0, RandomPurpose::shuffle, 0));
    }
    const Sample& at(std::size_t place) const { return samples_[index(place)]; }
    const std::shared_ptr<DecodeBudget>& decode_budget() const { return dataset_.decode_budget; }
    Name name_at(std::size_t place) const {
        const std::size_t k = index(place);
        Name name = name_of(samples_[k]);
        if (const auto other = others_.find(k); other != others_.end()) name.key = other->second;
        return name;
    }

  private:
    Name name_of(const Sample& sample) const {
        const auto label = static_cast<std::size_t>(sample.label);
        return packed_name(sample, dataset_.classes[label], folders_[label]);
    }

    const Dataset& dataset_;
    const std::vector<Sample>& samples_;
    std::string name_;
    std::vector<std::string> folders_;  // by class
    std::map<std::size_t, std::string> others_;
};

// An image ready to be written.
struct Piece {
    std::string path, key;
    std::vector<std::uint8_t> contents;
    std::string fault{};
    bool damaged = false;
};

bool is_made_smaller(const Sample& sample, const PackOptions& options) {
    return options.size > 0 && std::min(sample.width, sample.height) > options.size;
}

Piece make_piece(const Side& side, std::size_t place, const PackOptions& options) try {
    const Sample& sample = side.at(place);
    Name name = side.name_at(place);
    Piece piece{.key = name.key};
    if (is_made_smaller(sample, options)) {
        const Image whole = decode_sample(sample, 0, side.decode_budget());
        const std::int64_t shorter = std::min(whole.width, whole.height);
        const Image smaller =
            resize_bilinear(whole, static_cast<int>(std::int64_t{whole.width} * options.size / shorter),
                            static_cast<int>(std::int64_t{whole.height} * options.size / shorter));
        piece.contents = encode_jpeg(smaller, options.quality);
        piece.damaged = whole.damaged;
        name.ending = "jpg";
    } else {
        piece.contents = read_sample(sample);
        if (name.ending.empty()) name.ending = ending_of(probe_image(piece.contents, sample.path()).format);
    }
    piece.path = name.key + "." + name.ending;
    return piece;
} catch (const ImageError& error) {
    return {.path = {}, .key = {}, .contents = {}, .fault = error.reason()};
}

class Packing {
  public:
    Packing(const Dataset& dataset, const std::string& folder, const PackOptions& options, FileSystem& fs)
        : dataset_(dataset), folder_(folder), options_(options), fs_(fs) {}

    PackResult run() {
        begin();
        const bool sides = !dataset_.automatic_split;
        if (sides) {
            pack_side(Side(dataset_, dataset_.train, "train"));
            pack_side(Side(dataset_, dataset_.valid, "val"));
        } else {
            pack_side(Side(dataset_, dataset_.train, "all"));
        }
        record_["finished"] = true;
        save();
        return std::move(result_);
    }

  private:
    // What is to be packed and how, as the record says it.
    Record wanted() const {
        Digest contents;
        for (const std::vector<Sample>* side : {&dataset_.train, &dataset_.valid})
            for (const Sample& sample : *side) contents.update(std::as_bytes(std::span(&sample.content, 1)));
        return {{"size", options_.size},
                {"quality", options_.size > 0 ? options_.quality : 0},
                {"shard_size", options_.shard_bytes},
                {"names", digest(dataset_)},
                {"contents", contents.hex()},
                {"decoder", options_.size > 0 ? jpeg_decoder() : ""},
                {"classes", dataset_.classes.size()}};
    }

    void begin() {
        std::string names;
        for (const std::string& name : dataset_.classes) {
            if (name.find('\n') != std::string::npos || name.find('\r') != std::string::npos)
                throw Error(ErrorKind::data, "cannot pack", "class '" + name + "'",
                            "its name is more than one line", "rename it");
            names += name + "\n";
        }
        Record before = record_in(fs_, folder_);
        record_ = {{"made_by", "onecycle pack"}, {"of", wanted()}, {"finished", false}};
        record_["shards"] = Record::array();
        record_["left_out"] = Record::array();
        if (!before.is_null()) {
            if (!before.contains("of") || before["of"] != record_["of"])
                refuse_folder(folder_, "it holds shards of other images or options",
                              "give a new folder, or remove it: rm -r " + shell_quoted(folder_));
            old_ = before["shards"];
            old_left_out_ = before["left_out"];
        }
        for (const std::string& name : temporaries(fs_, folder_, listed(fs_, folder_)))
            retried([&] { return fs_.unlink(folder_ + "/" + name); });
        check_room();
        make_directories(fs_, folder_);
        if (before.is_null()) save();  // first: without it, what else is here counts as the user's
        write_file_atomically(fs_, folder_ + "/" + classes_name, names);
    }

    void check_room() const {
        std::uint64_t needed = pack_bytes(dataset_, options_), free = 0;
        for (const Record& shard : old_) needed -= std::min(needed, shard["bytes"].get<std::uint64_t>());
        std::string place = folder_;
        FileStatus status;
        while (retried([&] { return fs_.status(place, status); }) != 0 && place != parent_directory(place))
            place = parent_directory(place);
        if (retried([&] { return fs_.free_space(place, free); }) == 0 && free < needed)
            refuse_folder(folder_,
                          "no space left on the device: the shards may take " + std::to_string(needed >> 20) +
                              " MiB, " + std::to_string(free >> 20) + " MiB are free",
                          "free some space or choose a folder on another disk");
    }

    void save() { write_file_atomically(fs_, folder_ + "/" + record_name, record_.dump(2) + "\n"); }

    // The shard of this number as an earlier call made it; false: it is to be made.
    bool take_old(const Side& side, const std::string& file, std::size_t& place) {
        for (const Record& shard : old_) {
            if (shard["file"] != file) continue;
            const std::string path = folder_ + "/" + file;
            const auto from = shard["from"].get<std::size_t>(), to = shard["to"].get<std::size_t>();
            if (from != place || to > side.size()) return false;
            PackedShard packed{file, shard["images"].get<std::int64_t>(), shard["bytes"].get<std::uint64_t>(),
                               shard["digest"].get<std::string>()};
            try {
                if (InputFile(fs_, path).size() != packed.bytes || file_digest(fs_, path) != packed.digest)
                    return false;
            } catch (const Error&) {
                return false;
            }
            for (const Record& lost : old_left_out_)
                if (lost["shard"] == file)
                    leave_out({lost["file"].get<std::string>(), lost["reason"].get<std::string>()}, file);
            record_["shards"].push_back(shard);
            result_.images += packed.images;
            result_.kept_from_before += packed.images;
            result_.bytes += packed.bytes;
            result_.shards.push_back(std::move(packed));
            place = to;
            return true;
        }
        return false;
    }

    void leave_out(BadImage bad, const std::string& file) {
        record_["left_out"].push_back(
            {{"shard", file}, {"file", printable(bad.path)}, {"reason", bad.reason}});
        result_.left_out.push_back(std::move(bad));
    }

    void pack_side(const Side& side) {
        side_ = nullptr;
        std::size_t place = 0;
        for (int number = 0; place < side.size(); ++number) {
            std::string digits = std::to_string(number);
            digits.insert(0, number_digits - std::min(number_digits, digits.size()), '0');
            const std::string file = side.name() + "-" + digits + std::string(shard_ending);
            if (take_old(side, file, place)) {
                tell();
                continue;
            }
            make_shard(side, file, place);
        }
    }

    void tell() const {
        if (options_.progress) options_.progress(result_.images);
    }

    // The pieces behind the last ones that were asked for are made several at a time.
    Piece& piece_at(const Side& side, std::size_t place) {
        if (&side != side_ || place < first_ || place >= first_ + pieces_.size()) {
            const std::size_t n = std::min<std::size_t>(
                side.size() - place, 4 * static_cast<std::size_t>(std::max(options_.threads, 1)));
            side_ = &side;
            first_ = place;
            pieces_.assign(n, {});
            for_each_index(n, options_.threads, [&](std::size_t k) {
                if (const int signal = options_.stop ? options_.stop() : 0) throw Interrupted(signal);
                pieces_[k] = make_piece(side, place + k, options_);
            });
        }
        return pieces_[place - first_];
    }

    void make_shard(const Side& side, const std::string& file, std::size_t& place) {
        const std::string path = folder_ + "/" + file;
        const std::size_t from = place;
        std::vector<std::pair<std::string, std::uint64_t>> members;  // name, content_hash()
        std::int64_t images = 0;
        {
            AtomicFile out(fs_, path);
            TarWriter tar(out);
            std::uint64_t used = end_bytes;
            for (; place < side.size(); ++place) {
                Piece& piece = piece_at(side, place);
                const Sample& sample = side.at(place);
                if (!piece.fault.empty()) {
                    lose(sample, piece.fault, file);
                    continue;
                }
                const std::string label = std::to_string(sample.label), label_path = piece.key + ".cls";
                const std::uint64_t more = TarWriter::room(piece.path, piece.contents.size()) +
                                           TarWriter::room(label_path, label.size());
                if (images > 0 && used + more > options_.shard_bytes) break;
                used += more;
                const std::string_view contents(reinterpret_cast<const char*>(piece.contents.data()),
                                                piece.contents.size());
                for (const auto& [name, text] : {std::pair(piece.path, contents), {label_path, label}}) {
                    tar.add(name, text);
                    members.emplace_back(name, hash_of_text(text));
                }
                if (piece.damaged && options_.log)
                    options_.log(LogLevel::warning,
                                 echoed(sample.path()) + ": damaged; packed as far as it can be decoded");
                piece = {};
                ++images;
                ++result_.images;
                tell();
            }
            if (images == 0) return;  // nothing but bad ones were left
            tar.end();
            out.commit();
        }
        check_written(path, members);
        PackedShard packed{file, images, 0, file_digest(fs_, path)};
        packed.bytes = InputFile(fs_, path).size();
        record_["shards"].push_back({{"file", file},
                                     {"images", images},
                                     {"bytes", packed.bytes},
                                     {"digest", packed.digest},
                                     {"from", from},
                                     {"to", place}});
        save();
        result_.bytes += packed.bytes;
        result_.shards.push_back(std::move(packed));
    }

    static std::uint64_t hash_of_text(std::string_view text) {
        return content_hash({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    }

    void lose(const Sample& sample, const std::string& why, const std::string& file) {
        if (options_.bad_images == BadImages::fail)
            throw Error(ErrorKind::data, "cannot use image", sample.path(), why,
                        "remove it, or use --bad-images skip");
        if (options_.log)
            options_.log(LogLevel::warning, "left out " + echoed(sample.path()) + ": " + echoed(why));
        leave_out({sample.path(), why}, file);
    }

    // Reads the shard as anybody would.
    void check_written(const std::string& path,
                       const std::vector<std::pair<std::string, std::uint64_t>>& members) const {
        std::size_t k = 0;
        bool same = true;
        TarReader reader(path);
        for (TarMember member; same && reader.next(member); ++k)
            same = k < members.size() && member.path == members[k].first &&
                   hash_of_text(reader.read(member, static_cast<std::size_t>(member.bytes))) ==
                       members[k].second;
        if (same && k == members.size()) return;
        retried([&] { return fs_.unlink(path); });
        throw Error(ErrorKind::io, "cannot write shard", path, "what was read back is not what was written",
                    "check the disk and the memory, then give the same command again");
    }

    const Dataset& dataset_;
    const std::string& folder_;
    const PackOptions& options_;
    FileSystem& fs_;
    Record record_, old_ = Record::array(), old_left_out_ = Record::array();
    PackResult result_;
    const Side* side_ = nullptr;
    std::size_t first_ = 0;
    std::vector<Piece> pieces_;
};

}  // namespace

std::uint64_t pack_bytes(const Dataset& dataset, const PackOptions& options) {
    std::uint64_t bytes = end_bytes;
    for (const std::vector<Sample>* side : {&dataset.train, &dataset.valid})
        for (const Sample& sample : *side) {
            std::uint64_t image = sample.bytes;
            if (is_made_smaller(sample, options)) {
                // Of an image that is no noise, JPEG of quality 90 makes less than a byte a pixel.
                const std::uint64_t shorter =
                                        static_cast<std::uint64_t>(std::min(sample.width, sample.height)),
                                    size = static_cast<std::uint64_t>(options.size);
                image = std::uint64_t(sample.width) * sample.height * size / shorter * size / shorter;
            }
            bytes += TarWriter::room(std::string(sample.name()), image) + TarWriter::room("", 20);
        }
    return bytes;
}

void check_pack_options(const PackOptions& o) {
    const auto refuse_value = [](const std::string& option, const std::string& why, const std::string& fix) {
        throw Error(ErrorKind::usage, "bad option", option, why, fix);
    };
    if (o.size < 0 || o.size > 65535)
        refuse_value("--size " + std::to_string(o.size), "it must lie between 1 and 65535", "256 is usual");
    if (o.quality < 1 || o.quality > 100)
        refuse_value("--quality " + std::to_string(o.quality), "it must lie between 1 and 100",
                     "leave it out for 90");
    if (o.shard_bytes < 10240)
        refuse_value("--shard-size " + std::to_string(o.shard_bytes), "it must be at least 10K (10240 bytes)",
                     "leave it out for 512M");
}

PackResult pack_images(const Dataset& dataset, const std::string& folder, const PackOptions& options,
                       FileSystem& fs) {
    check_pack_options(options);
    TarWriter::require();
    return Packing(dataset, folder, options, fs).run();
}

void check_pack_folder(const std::string& folder, FileSystem& fs) {
    TarWriter::require();
    record_in(fs, folder);
}

}  // namespace onecycle
