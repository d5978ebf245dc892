#include "onecycle/export.h"

#include <fmt/format.h>

#include "core/file.h"
#include "onecycle/error.h"
#include "onecycle/run_folder.h"
#include "train/model_info.h"
#include "train/model_tensors.h"
#include "train/onnx_export.h"
#include "train/options_record.h"

namespace onecycle {

namespace {

constexpr const char* cannot_export = "cannot export";

enum class Format { safetensors, onnx };

Format format_of(const std::string& to, const ExportOptions& options) {
    if (to.ends_with(".onnx")) return Format::onnx;
    if (!to.ends_with(".safetensors"))
        throw Error(ErrorKind::usage, cannot_export, to, "its ending tells no format that can be written",
                    "name it FILE.safetensors or FILE.onnx");
    if (options.keep_bn || options.with_preprocessing)
        throw Error(ErrorKind::usage, cannot_export, options.keep_bn ? "--keep-bn" : "--with-preprocessing",
                    "a .safetensors file has no graph", "leave it out, or export to FILE.onnx");
    return Format::safetensors;
}

// What a model says of itself; of its training only what tells which images it has seen.
std::map<std::string, std::string> metadata_of(const ModelInfo& info) {
    const auto triple = [](const std::array<double, 3>& v) { return fmt::format("{}", fmt::join(v, ",")); };
    std::map<std::string, std::string> metadata = {
        {"format", "pt"},  // how other tools know that names and shapes are PyTorch's
        {"arch", info.arch},
        {"stem", to_string(info.stem)},
        {"head", to_string(info.head)},
        {"size", std::to_string(info.size)},
        {"crop_pct", to_text(info.crop_pct)},
        {"mean", triple(info.mean)},
        {"std", triple(info.stddev)}};
    if (info.named) metadata["classes"] = to_json_list(info.classes);
    for (const char* key : {"dataset", "split_seed", "split_fraction"})
        if (const auto found = info.metadata.find(key); found != info.metadata.end()) metadata.insert(*found);
    return metadata;
}

std::map<std::string, std::string> onnx_metadata(const ModelInfo& info) {
    const auto triple = [](const std::array<double, 3>& v) {
        return fmt::format("[{}]", fmt::join(v, ", "));
    };
    return {{"arch", fmt::format("\"{}\"", info.arch)},
            {"classes", to_json_list(info.classes)},
            {"size", std::to_string(info.size)},
            {"crop_pct", to_text(info.crop_pct)},
            {"mean", triple(info.mean)},
            {"std", triple(info.stddev)}};
}

using Weights = std::map<std::string, HostTensor>;

std::uint64_t write_weights(const std::string& to, const TensorFile& file, const Network& network,
                            const Weights& weights, const ModelInfo& info) {
    std::vector<TensorSource> sources;
    for (const auto& [name, tensor] : weights)
        sources.push_back(float_tensor(name, tensor.shape, tensor.values));
    std::map<std::string, std::int64_t> batches;  // 0 where the file does not tell
    for (const std::string& norm : network.statistics()) {
        const std::string name = norm + ".num_batches_tracked";
        std::int64_t& count = batches[name];
        const TensorInfo* stored = file.find(name);
        if (stored && stored->type == StoredType::i64 && stored->bytes == sizeof count)
            file.read(name, std::as_writable_bytes(std::span(&count, 1)));
        sources.push_back(
            {name, StoredType::i64, {}, [&count] { return std::as_bytes(std::span(&count, 1)); }});
    }
    const auto metadata = metadata_of(info);
    write_safetensors(to, sources, metadata);
    return safetensors_size(to, sources, metadata);
}

std::uint64_t write_graph(const std::string& to, const Network& network, const Weights& weights,
                          const ModelInfo& info, const ExportOptions& options, FileSystem& fs) {
    OnnxModel model = onnx_model(network, weights,
                                 {.keep_bn = options.keep_bn,
                                  .with_preprocessing = options.with_preprocessing,
                                  .mean = info.mean,
                                  .stddev = info.stddev});
    model.name = info.arch;
    model.metadata = onnx_metadata(info);
    return write_onnx(to, model, fs);
}

ExportResult export_of(const std::string& model, const std::string& to, const ExportOptions& options,
                       const Architecture* own) {
    FileSystem& fs = posix_file_system();
    const Format format = format_of(to, options);
    const auto file = open_model(model, options.model.init_ema, own);
    const ModelInfo info = with_options(
        require_classifier(require_architecture(describe_model(*file, own), own)), options.model);
    const OutputRule replaced{.force = options.force};
    check_output(fs, to, replaced);
    file->verify();
    const Network network = network_of(info, info.size);
    const Weights weights = read_weights(*file, network);
    check_output(fs, to, replaced);  // that took a while
    if (format == Format::onnx)
        return {to, "onnx", write_graph(to, network, weights, info, options, fs), info};
    return {to, "safetensors", write_weights(to, *file, network, weights, info), info};
}

}  // namespace

ExportResult export_model(const std::string& model, const std::string& to, const ExportOptions& options) {
    return export_of(model, to, options, nullptr);
}

ExportResult export_model(const std::string& model, const std::string& to, const ExportOptions& options,
                          const Architecture& architecture) {
    return export_of(model, to, options, &architecture);
}

}  // namespace onecycle
