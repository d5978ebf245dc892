#include "cli/json.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "train/model_info.h"
#include "train/model_tensors.h"

namespace onecycle::cli {

namespace {

using Json = nlohmann::ordered_json;

std::string text(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json or_null(const std::string& value) {
    return value.empty() ? Json(nullptr) : Json(value);
}

}  // namespace

std::string to_json(const Evaluation& e, const std::optional<UnseenImages>& split) {
    Json classes = Json::array(), per_class = Json::array(), confused = Json::array(), losses = Json::array();
    const auto name = [&](int c) { return e.per_class.at(static_cast<std::size_t>(c)).name; };
    for (const ClassResult& c : e.per_class) {
        classes.push_back(c.name);
        if (c.count == 0) {
            per_class.push_back(nullptr);
            continue;
        }
        per_class.push_back({{"class", c.name},
                             {"count", c.count},
                             {"correct", c.correct},
                             {"predicted", c.predicted},
                             {"recall", c.recall},
                             {"precision", c.precision},
                             {"f1", c.f1},
                             {"support", c.count}});
    }
    for (const ConfusedPair& pair : most_confused(e))
        confused.push_back(
            {{"class", name(pair.label)}, {"predicted", name(pair.predicted)}, {"count", pair.count}});
    for (const ImageLoss& image : e.top_losses)
        losses.push_back({{"file", image.file},
                          {"loss", image.loss},
                          {"class", name(image.label)},
                          {"predicted", name(image.predicted)},
                          {"probability", image.probability}});
    Json json = {{"n", e.n},
                 {"loss", e.loss},
                 {"accuracy", e.accuracy},
                 {"accuracy_low", e.interval.low},
                 {"accuracy_high", e.interval.high},
                 {"balanced_accuracy", e.balanced_accuracy},
                 {"top5", e.top5},
                 {"classes", classes},
                 {"per_class", per_class},
                 {"confusion", e.confusion},
                 {"most_confused", confused},
                 {"top_losses", losses}};
    if (split) {
        json["held_out"] = split->held_out;
        json["new_files"] = split->added;
        json["missing_files"] = split->missing;
    }
    return text(json);
}

std::string to_json(const std::vector<Prediction>& predictions) {
    Json list = Json::array();
    for (const Prediction& p : predictions) {
        Json top = Json::array();
        for (const auto& entry : p.top)
            top.push_back(
                {{"index", entry.index}, {"class", entry.label}, {"probability", entry.probability}});
        Json item = {{"file", p.file}, {"top", top}};
        if (!p.error.empty()) item["error"] = p.error;
        if (p.damaged) item["damaged"] = true;
        list.push_back(item);
    }
    return text(list);
}

std::string to_json(const ExportResult& result) {
    return text({{"file", result.file},
                 {"format", result.format},
                 {"bytes", result.bytes},
                 {"model", result.info.path},
                 {"arch", result.info.arch},
                 {"classes", result.info.classes},
                 {"size", result.info.size}});
}

std::string to_json(const PackResult& result, const std::string& folder, std::size_t classes,
                    const std::vector<BadImage>& bad) {
    Json shards = Json::array(), left_out = Json::array();
    for (const PackedShard& shard : result.shards)
        shards.push_back({{"file", shard.file},
                          {"images", shard.images},
                          {"bytes", shard.bytes},
                          {"digest", shard.digest}});
    for (const std::vector<BadImage>* list : {&bad, &result.left_out})
        for (const BadImage& image : *list)
            left_out.push_back({{"file", image.path}, {"reason", image.reason}});
    return text({{"folder", folder},
                 {"images", result.images},
                 {"classes", classes},
                 {"bytes", result.bytes},
                 {"packed_before", result.kept_from_before},
                 {"shards", shards},
                 {"left_out", left_out}});
}

std::string to_json(const FitResult& result, const std::string& run, int shares) {
    Json epochs = Json::array();
    for (const EpochReport& e : result.epochs)
        epochs.push_back({{"epoch", e.epoch},
                          {"train_loss", e.train_loss},
                          {"valid_loss", e.evaluated ? Json(e.valid_loss) : Json(nullptr)},
                          {"accuracy", e.evaluated ? Json(e.accuracy) : Json(nullptr)},
                          {"lr", e.lr},
                          {"images_per_second", e.images_per_second},
                          {"seconds", e.seconds}});
    return text({{"epochs", epochs},
                 {"max_lr", result.max_lr},
                 {"run", run},
                 {"shares", shares},
                 {"steps", result.step},
                 {"finished", result.finished()},
                 {"bad_images", result.bad_images},
                 {"best_epoch", result.best_epoch ? Json(*result.best_epoch) : Json(nullptr)},
                 {"checkpoint", result.checkpoint},
                 {"digest", result.digest},
                 {"seconds", result.seconds},
                 {"images_per_second", result.images_per_second}});
}

std::int64_t FileInfo::parameters() const {
    std::int64_t count = 0;
    for (const TensorInfo& tensor : tensors) {
        const bool weights = tensor.name.ends_with(".weight") || tensor.name.ends_with(".bias");
        if (weights && !is_training_state(tensor.name)) {
            std::int64_t elements = 1;
            for (const std::int64_t side : tensor.shape) elements *= side;
            count += elements;
        }
    }
    return count;
}

std::uint64_t FileInfo::bytes() const {
    std::uint64_t total = 0;
    for (const TensorInfo& tensor : tensors) total += tensor.bytes;
    return total;
}

std::string to_json(const FileInfo& info) {
    Json json = {{"kind", info.kind}, {"path", info.path}, {"file", or_null(info.file)}};
    if (info.model) {
        const ModelInfo& m = *info.model;
        json.update({{"arch", m.arch},
                     {"stem", to_string(m.stem)},
                     {"head", to_string(m.head)},
                     {"classes", m.classes},
                     {"size", m.size},
                     {"crop_pct", m.crop_pct},
                     {"mean", m.mean},
                     {"std", m.stddev},
                     {"metadata", m.metadata}});
    } else {
        json["arch"] = nullptr;
        json["reason"] = info.not_a_model;
    }
    json["digest"] = or_null(info.digest);
    json["parameters"] = info.parameters();
    json["bytes"] = info.bytes();
    if (!info.config.empty()) json["config"] = Json::parse(info.config, nullptr, false);
    Json tensors = Json::array();
    for (const TensorInfo& tensor : info.tensors)
        tensors.push_back({{"name", tensor.name}, {"dtype", name_of(tensor.type)}, {"shape", tensor.shape}});
    json["tensors"] = tensors;
    return text(json);
}

std::int64_t parameters_of(const Architecture& architecture, int classes) {
    const int size = std::max(224, architecture.smallest(Stem::imagenet));
    const Network network = architecture.make({.classes = classes, .size = size});
    std::int64_t count = 0;
    for (const Parameter& parameter : network.parameters())
        count += std::accumulate(parameter.shape.begin(), parameter.shape.end(), std::int64_t{1},
                                 std::multiplies<>());
    return count;
}

std::string to_json(const std::vector<Architecture>& architectures) {
    Json list = Json::array();
    for (const Architecture& a : architectures)
        list.push_back({{"name", a.name},
                        {"description", a.description},
                        {"parameters", parameters_of(a, 1000)},
                        {"smallest_size", a.smallest_size},
                        {"small_stem", a.smallest_size_small_stem.has_value()},
                        {"fastai_head", a.fastai_head},
                        {"weights", a.published},
                        {"default", a.name == default_architecture}});
    return text({{"archs", list}});
}

std::string to_json(const MachineInfo& machine) {
    Json backends = Json::array(), libraries = Json::object(), gpus = Json::array();
    for (const auto& b : machine.backends)
        backends.push_back({{"name", b.name}, {"built", b.built}, {"ready", b.ready}, {"note", b.note}});
    for (const auto& [name, version] : machine.libraries) libraries[name] = or_null(version);
    const CudaMachine& cuda = machine.cuda;
    for (const CudaGpu& gpu : cuda.gpus)
        gpus.push_back({{"name", gpu.name},
                        {"memory", gpu.memory},
                        {"compute_capability", std::to_string(gpu.major) + "." + std::to_string(gpu.minor)},
                        {"missing", or_null(gpu.missing)}});
    return text({{"version", machine.version},
                 {"backends", backends},
                 {"devices", machine.devices},
                 {"cores", machine.cores},
                 {"instruction_set", machine.instruction_set},
                 {"cuda",
                  {{"toolkit", or_null(cuda.toolkit)},
                   {"architectures", or_null(cuda.architectures)},
                   {"driver", or_null(cuda.driver_version)},
                   {"driver_cuda", or_null(cuda.driver)},
                   {"gpus", gpus},
                   {"missing", or_null(cuda.missing)}}},
                 {"libraries", libraries},
                 {"advice", machine.advice}});
}

namespace {

Json json_of(const ScaleForecast& forecast) {
    const Links& links = forecast.options.links;
    Json ranks = Json::array(), inputs = Json::array();
    for (const RanksForecast& f : forecast.ranks) {
        Json transfers = Json::array(), steps = Json::array();
        for (const Transfer& t : f.transfers)
            transfers.push_back({{"name", t.name},
                                 {"bytes", t.bytes},
                                 {"exchanges", t.exchanges},
                                 {"ready_seconds", t.ready},
                                 {"start_seconds", t.start},
                                 {"end_seconds", t.end}});
        for (const ProfiledStep& s : f.steps) {
            Json exchanges = Json::array();
            for (const auto& messages : s.exchanges)
                exchanges.push_back(
                    {{"ranks", messages.ranks}, {"apart", messages.apart}, {"bytes", messages.bytes}});
            steps.push_back({{"name", s.name},
                             {"phase", s.phase},
                             {"branch", s.branch},
                             {"waits", s.waits},
                             {"operation", s.operation},
                             {"limit_seconds", s.limit},
                             {"exchanged_bytes", s.exchanged},
                             {"exchanges", exchanges}});
        }
        ranks.push_back({{"ranks", f.ranks},
                         {"nodes", f.nodes},
                         {"wire_seconds", f.wire},
                         {"exposed_seconds", f.exposed},
                         {"memory_seconds", f.memory},
                         {"step_seconds", f.step},
                         {"images_per_second", f.images_per_second},
                         {"efficiency", f.efficiency},
                         {"transfers", transfers},
                         {"steps", steps}});
    }
    for (const InputForecast& input : forecast.inputs)
        inputs.push_back(
            {{"input", input.name},
             {"images_per_core", input.images_per_core > 0 ? Json(input.images_per_core) : Json()},
             {"cores_a_rank", input.cores},
             {"enough", input.enough}});
    return {{"links",
             {{"node_ranks", links.node},
              {"inside_bytes_per_second", links.inside},
              {"between_bytes_per_second", links.between},
              {"inside_hop_seconds", links.inside_hop},
              {"between_hop_seconds", links.between_hop},
              {"message_seconds", links.message}}},
            {"forecasts", ranks},
            {"images_per_second_a_rank", forecast.images_per_rank},
            {"cores_a_rank", forecast.options.cores},
            {"inputs", inputs}};
}

}  // namespace

std::string to_json(const Profile& profile, const ScaleForecast* forecast) {
    const auto number = [](const std::optional<double>& value) {
        return value ? Json(*value) : Json(nullptr);
    };
    const TrainOptions& train = profile.options.train;
    Json steps = Json::array();
    for (std::size_t i = 0; i < profile.steps.size(); ++i) {
        const ProfiledStep& s = profile.steps[i];
        const bool share = s.seconds && profile.comparable;
        steps.push_back({{"step", i},
                         {"name", s.name},
                         {"phase", s.phase},
                         {"branch", s.branch},
                         {"waits", s.waits},
                         {"operation", s.operation},
                         {"shape", s.shape},
                         {"implementation", s.implementation},
                         {"flops", s.flops},
                         {"bytes", s.bytes},
                         {"limit_seconds", s.limit},
                         {"seconds", number(s.seconds)},
                         {"share", share ? Json(s.limit / *s.seconds) : Json(nullptr)}});
    }
    Json whole = nullptr;
    if (const auto& w = profile.whole)
        whole = {{"seconds", w->seconds},
                 {"images_per_second", train.batch_size / w->seconds},
                 {"first_seconds", w->first},
                 {"launches", w->launches},
                 {"updates", w->updates},
                 {"calls_a_launch", w->calls},
                 {"blocking_calls_a_launch", w->blocking_calls}};
    const auto both = [](const std::optional<Limits>& limits) {
        return limits ? Json{{"bytes_per_second", limits->bytes_per_second},
                             {"flops_per_second", limits->flops_per_second}}
                      : Json(nullptr);
    };
    Json load = nullptr;
    if (profile.load) load = {{"others", profile.load->others}, {"processors", profile.load->processors}};
    return text({{"arch", train.arch},
                 {"stem", to_string(train.stem)},
                 {"size", train.size},
                 {"classes", profile.options.classes},
                 {"batch_size", train.batch_size},
                 {"optimizer", to_string(train.optimizer)},
                 {"precision", profile.precision},
                 {"device", profile.whole ? Json(profile.device) : Json(nullptr)},
                 {"limits",
                  {{"bytes_per_second", profile.limits.bytes_per_second},
                   {"flops_per_second", profile.limits.flops_per_second},
                   {"source", profile.limits.source},
                   {"of_this_device", profile.whole && profile.comparable},
                   {"before", both(profile.before)},
                   {"after", both(profile.after)}}},
                 {"load", load},
                 {"doubts", profile.doubts()},
                 {"flops", profile.flops()},
                 {"bytes", profile.bytes()},
                 {"arena_bytes", profile.arena_bytes},
                 {"data_parallel", forecast ? json_of(*forecast) : Json(nullptr)},
                 {"limit_seconds", profile.limit()},
                 {"seconds", number(profile.seconds())},
                 {"whole_step", whole},
                 {"steps", steps}});
}

std::string to_json(const AccessCounts& counts) {
    const TrainOptions& train = counts.options.train;
    const auto figures = [](const LaunchCounts& c, double declared) {
        return Json{{"kernel", c.kernel},
                    {"requests", c.requests},
                    {"sectors", c.sectors},
                    {"fewest_sectors", c.fewest_sectors},
                    {"shared_requests", c.shared_requests},
                    {"bank_conflicts", c.bank_conflicts},
                    {"bytes", c.bytes},
                    {"declared_bytes", declared}};
    };
    Json kernels = Json::array(), launches = Json::array();
    for (const CountedKernel& kernel : counts.kernels()) {
        kernels.push_back(figures(kernel, kernel.declared));
        kernels.back().update({{"launches", kernel.launches}, {"operations", kernel.operations}});
    }
    for (const CountedLaunch& launch : counts.launches) {
        launches.push_back(figures(launch, launch.declared));
        launches.back().update({{"step", launch.step},
                                {"name", launch.name},
                                {"operation", launch.operation},
                                {"shape", launch.shape},
                                {"blocks", launch.blocks},
                                {"threads", launch.threads}});
    }
    return text({{"arch", train.arch},
                 {"stem", to_string(train.stem)},
                 {"size", train.size},
                 {"classes", counts.options.classes},
                 {"batch_size", train.batch_size},
                 {"optimizer", to_string(train.optimizer)},
                 {"precision", counts.precision},
                 {"kernels", kernels},
                 {"launches", launches}});
}

}  // namespace onecycle::cli
