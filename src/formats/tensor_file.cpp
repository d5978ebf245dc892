#include "onecycle/tensor_file.h"

#include <utility>

#include "formats/malformed.h"
#include "formats/readers.h"
#include "formats/weights_place.h"

namespace onecycle {

void TensorFile::describe(std::string path, std::vector<TensorInfo> tensors,
                          std::map<std::string, std::string> metadata) {
    path_ = std::move(path);
    tensors_ = std::move(tensors);
    metadata_ = std::move(metadata);
    choose("", {}, {});
}

void TensorFile::choose(const std::string& prefix, const std::vector<std::string>& children,
                        WeightsPlace place) {
    names_.clear();
    for (std::size_t i = 0; i < tensors_.size(); ++i)
        if (const std::string name = network_name(tensors_[i].name, prefix, children); !name.empty())
            names_.emplace(name, i);
    weights_ = std::move(place);
}

const TensorInfo* TensorFile::find(const std::string& name) const {
    const auto found = names_.find(name);
    return found == names_.end() ? nullptr : &tensors_[found->second];
}

void TensorFile::read(const std::string& name, std::span<std::byte> out) const {
    const auto found = names_.find(name);
    if (found == names_.end()) refuse_model(path_, "it has no tensor '" + name + "'");
    const TensorInfo& info = tensors_[found->second];
    if (out.size() != info.bytes)
        refuse_model(path_, "tensor '" + name + "' has " + std::to_string(info.bytes) + " bytes, not " +
                                std::to_string(out.size()));
    read(found->second, out);
}

std::vector<float> TensorFile::read_floats(const std::string& name) const {
    std::vector<float> values;
    read_floats(name, values);
    return values;
}

void TensorFile::read_floats(const std::string& name, std::vector<float>& values) const {
    const TensorInfo* info = find(name);
    if (!info) refuse_model(path_, "it has no tensor '" + name + "'");
    values.resize(info->bytes / size_of(info->type));
    if (info->type == StoredType::f32) {
        read(name, std::as_writable_bytes(std::span(values)));
    } else {
        std::vector<std::byte> stored(info->bytes);
        read(name, stored);
        to_float(info->type, stored, values);
    }
}

std::unique_ptr<TensorFile> open_tensor_file(const std::string& path, FileSystem& fs, bool ema,
                                             const KnownNetworks& known) {
    if (looks_like_torch(path, fs)) return std::make_unique<TorchFile>(path, fs, ema, known);
    return std::make_unique<SafetensorsFile>(path, fs, ema, known);
}

std::unique_ptr<TensorFile> open_tensor_file(const std::string& path, bool ema, const KnownNetworks& known) {
    return open_tensor_file(path, posix_file_system(), ema, known);
}

}  // namespace onecycle
