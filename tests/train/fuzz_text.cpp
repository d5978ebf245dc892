// libFuzzer target: any text that a person or another program may have written is read, or refused
// by an Error of its kind. The first byte says what it is taken for. See scripts/fuzz.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <set>
#include <string>

#include "data/image_list.h"
#include "data/label_table.h"
#include "onecycle/error.h"
#include "onecycle/options.h"
#include "onecycle/report.h"
#include "train/class_names.h"
#include "train/fault_record.h"
#include "train/log_rows.h"
#include "train/options_record.h"

namespace onecycle {
namespace {

void require(bool holds) {
    if (!holds) std::terminate();
}

// A run's config.json.
void read_config(const std::string& text) {
    const TrainOptions options = train_options_from_json(text, "config.json");
    const std::string written = to_json(options);
    require(to_json(train_options_from_json(written, "config.json")) == written);
}

void read_labels(const std::string& text) {
    for (const LabelRow& row : parse_label_table(text, "labels.csv").rows)
        require(!row.file.empty() && !row.label.empty() && row.line > 1);
}

void read_curve(const std::string& text) {
    const LossCurve curve = parse_curve_csv(text, "curve.csv");
    require(!curve.lr.empty() && curve.lr.size() == curve.loss.size() && curve.updates >= 0);
    for (std::size_t k = 0; k < curve.lr.size(); ++k)
        require(std::isfinite(curve.lr[k]) && curve.lr[k] > (k > 0 ? curve.lr[k - 1] : 0));
}

void read_names(const std::string& text) {
    const std::vector<std::string> names = parse_class_names(text, "classes.txt");
    require(!names.empty() && std::set(names.begin(), names.end()).size() == names.size());
    for (const std::string& name : names) require(!name.empty() && printable(name) == name);
}

// The texts in a checkpoint's metadata.
void read_list(const std::string& text) {
    const std::vector<std::string> list = from_json_list(text);
    try {
        require(from_json_list(to_json_list(list)) == list);
    } catch (const Error&) {
    }
}

void read_record(const std::string& text) {
    require(differences_from_record(text, {}).size() <= text.size() + 1);  // "all options" of no text
    require(!std::isnan(max_lr_of_record(text)));
}

void read_faults(const std::string& text) {
    Dataset dataset;
    dataset.train.resize(3);
    for (const ImageFault& fault : faults_from_record(text, dataset, "step.safetensors"))
        require(fault.training && fault.sample >= 0 && fault.sample < 3);
}

void read_metrics(const std::string& text) {
    for (const EpochReport& row : parse_metrics(text)) require(row.epoch >= 0);
}

// The list of images, whose bytes stand in a tensor.
void read_images(const std::string& text) {
    const auto bytes = reinterpret_cast<const std::uint8_t*>(text.data());
    try {
        const ImageList list = unpack({bytes, text.size()});
        const std::vector<std::uint8_t> packed = pack(list);
        require(pack(unpack(packed)) == packed);
    } catch (const std::runtime_error&) {
    }
}

void read(char kind, const std::string& text) {
    switch (kind) {
        case 'c':
            return read_config(text);
        case 'l':
            return read_labels(text);
        case 'v':
            return read_curve(text);
        case 'k':
            return read_names(text);
        case 'j':
            return read_list(text);
        case 'o':
            return read_record(text);
        case 'f':
            return read_faults(text);
        case 'm':
            return read_metrics(text);
        case 'i':
            return read_images(text);
        default:
            return;
    }
}

ErrorKind expected(char kind) {
    return kind == 'c' ? ErrorKind::usage : kind == 'f' ? ErrorKind::model : ErrorKind::data;
}

}  // namespace
}  // namespace onecycle

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const char kind = static_cast<char>(data[0]);
    try {
        onecycle::read(kind, std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
    } catch (const onecycle::Error& error) {
        if (error.kind() != onecycle::expected(kind)) std::terminate();
        if (std::string(error.what()).find('\n') != std::string::npos) std::terminate();
    }
    return 0;
}
