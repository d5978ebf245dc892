#include "train/recorded_images.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <filesystem>

#include "core/echoed.h"
#include "core/file.h"
#include "core/shell_quoted.h"
#include "data/folder.h"
#include "formats/readers.h"
#include "onecycle/error.h"
#include "onecycle/learner.h"
#include "onecycle/model.h"
#include "onecycle/run_folder.h"
#include "train/fault_record.h"
#include "train/options_record.h"

namespace onecycle {

namespace {

constexpr const char* moved = "name the folder that holds them: onecycle train NEW --resume ";

[[noreturn]] void cannot_go_on_with(const std::string& data, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::data, "cannot resume", echoed(data), why, fix);
}

// Says what became of the list's images, and refuses what the options do not allow. `counted`:
// those that the run goes without already; `bad`: what never was in the list.
void check_difference(const ListDifference& difference, const std::vector<ImageFault>& counted,
                      std::size_t bad, const std::string& run, const TrainOptions& options,
                      const LogSink& log) {
    const std::size_t images = difference.known + difference.gone.size();
    std::size_t fresh = difference.gone.size();
    for (const ImageFault& fault : counted) fresh -= difference.gone.count({fault.training, fault.sample});
    std::string text = fmt::format("its {} images since then:", images);
    const auto add = [&](std::size_t count, const char* what) {
        if (count > 0) text += fmt::format("{} {} {}", text.back() == ':' ? "" : ",", count, what);
    };
    add(difference.missing, "missing");
    add(difference.changed, "changed");
    if (fresh > 0) {
        const auto go_on = [&](const char* option) {
            return fmt::format("; or go on without them: onecycle train{} --resume {} {}",
                               options.data.empty() ? "" : " " + shell_quoted(options.data),
                               shell_quoted(run), option);
        };
        const std::string put_back = "put them back as they were; or " + (moved + shell_quoted(run));
        if (difference.known == 0) cannot_go_on_with(options.data, "none of its images is here", put_back);
        const bool too_many = static_cast<double>(fresh + counted.size() + bad) >
                              options.max_bad * static_cast<double>(images + bad);
        // Both options, for the run's own --bad-images may be another than this command's.
        if (too_many)
            cannot_go_on_with(options.data, text + ", too many",
                              put_back + go_on("--bad-images skip --max-bad 1"));
        if (options.bad_images == BadImages::fail)
            cannot_go_on_with(options.data, text, put_back + go_on("--bad-images skip"));
    }
    if (!log || (difference.gone.empty() && difference.added == 0)) return;
    add(difference.added, "new (not used)");
    if (fresh > 0) text += fmt::format("; left out from now on, which changes the result: {}", fresh);
    log(fresh > 0 ? LogLevel::warning : LogLevel::info, text);
}

}  // namespace

std::string images_of_config(const std::string& path) {
    const auto json =
        nlohmann::json::parse(read_file(posix_file_system(), path, ErrorKind::model), nullptr, false);
    const auto found = json.find(dataset_member);
    return json.is_object() && found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<ImageList> recorded_images(const TensorFile& file) {
    const TensorInfo* const tensor = file.find(images_tensor);
    if (tensor == nullptr) return {};
    const auto refuse_list = [&](const std::string& why) {
        throw Error(ErrorKind::model, "cannot use model", file.path(),
                    "its list of training images is not readable: " + why, "use another checkpoint");
    };
    if (tensor->type != StoredType::u8) refuse_list("it does not hold bytes");
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(tensor->bytes));
    file.read(images_tensor, std::as_writable_bytes(std::span(bytes)));
    try {
        return unpack(bytes);
    } catch (const std::runtime_error& error) {
        refuse_list(error.what());
    }
    return {};
}

std::string run_config(const TrainOptions& options, const std::string& dataset_digest) {
    auto json = nlohmann::ordered_json::parse(to_json(options));
    json[dataset_member] = dataset_digest;
    return json.dump(2) + "\n";
}

std::function<bool(const std::map<std::string, std::string>&)> belongs_to(const TrainOptions& options,
                                                                          const std::string& dataset_digest) {
    return [options, dataset_digest](const std::map<std::string, std::string>& metadata) {
        const auto images = metadata.find("dataset");
        if (!dataset_digest.empty() && (images == metadata.end() || images->second != dataset_digest))
            return false;
        const auto record = metadata.find("options");
        if (record == metadata.end()) return false;
        TrainOptions run = options;
        if (!run.max_lr) run.max_lr = max_lr_of_record(record->second);  // not found yet
        return differences_from_record(record->second, run).empty();
    };
}

Dataset reopen_dataset(const std::string& run, const TrainOptions& options, const LogSink& log,
                       const std::function<int()>& stop,
                       const std::function<void(std::int64_t, std::int64_t)>& progress) {
    std::error_code unknown;
    if (!is_folder(options.data) && !std::filesystem::is_regular_file(options.data, unknown))
        cannot_go_on_with(options.data, "its images are not there: no such folder",
                          moved + shell_quoted(run));
    DatasetOptions opening = dataset_options(options, log, stop);
    opening.progress = progress;
    const std::string began_with = images_of_config(run + "/config.json");
    const auto newest = newest_valid_checkpoint(run, {}, belongs_to(options, began_with));
    if (!newest) {
        Dataset dataset = open_dataset(options.data, opening);
        if (!began_with.empty() && digest(dataset) != began_with)
            cannot_go_on_with(options.data, "its images are not those that the run began with",
                              "put them back as they were, or start a new run in another folder");
        return dataset;
    }
    const SafetensorsFile file(newest->path);
    if (const auto split = recorded_split({.metadata = file.metadata()})) {
        opening.seed = split->seed;
        opening.valid_fraction = split->valid_fraction;
    }
    const std::optional<ImageList> list = recorded_images(file);
    if (!list) return open_dataset(options.data, opening);
    const Dataset found = open_dataset(options.data, opening);
    if (found.automatic_split != list->automatic_split)
        cannot_go_on_with(options.data,
                          list->automatic_split ? "the run split it, and now it has an evaluation side"
                                                : "the run began with an evaluation side, which it lacks now",
                          "put it back as it was, or start a new run");
    ListDifference difference;
    Dataset dataset = listed_dataset(*list, found, difference);

    const auto record = file.metadata().find("bad_images");
    const std::vector<ImageFault> counted = record == file.metadata().end()
                                                ? std::vector<ImageFault>()
                                                : faults_from_record(record->second, dataset, newest->path);
    check_difference(difference, counted, dataset.bad.size(), run, options, log);
    return dataset;
}

}  // namespace onecycle
