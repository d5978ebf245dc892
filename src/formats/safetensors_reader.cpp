#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "core/digest.h"
#include "core/file.h"
#include "formats/safetensors_header.h"

namespace onecycle {
namespace {

constexpr const char* cannot_read = "cannot read model file";
constexpr const char* fix = "use another copy of the file";

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
    throw Error(ErrorKind::model, cannot_read, path, why, fix);
}

std::string read_header(const InputFile& file) {
    std::uint64_t length = 0;
    if (file.size() == 0) refuse(file.path(), "it is empty");
    if (file.size() < sizeof length) refuse(file.path(), "it is too short to be a safetensors file");
    file.read_at(std::as_writable_bytes(std::span(&length, 1)), 0);
    if (length > max_header_bytes || length > file.size() - sizeof length) {
        refuse(file.path(), "it is no safetensors file, or cut short: its header would be " +
                                std::to_string(length) + " bytes long");
    }
    std::string text(length, '\0');
    file.read_at(std::as_writable_bytes(std::span(text)), sizeof length);
    return text;
}

std::string take(std::map<std::string, std::string>& metadata, const char* key) {
    auto entry = metadata.extract(key);
    return entry ? std::move(entry.mapped()) : std::string();
}

}  // namespace

struct SafetensorsFile::Impl {
    InputFile file;
    SafetensorsHeader header;
    std::string digest, tensor_digests;
    std::unordered_map<std::string, std::size_t> index;

    Impl(FileSystem& fs, const std::string& path) : file(fs, path, ErrorKind::model) {
        const std::string text = read_header(file);
        const std::uint64_t start = sizeof(std::uint64_t) + text.size();
        try {
            header = parse_header(text, file.size() - start);
        } catch (const MalformedHeader& malformed) {
            refuse(path, malformed.what());
        }
        digest = take(header.metadata, header_digest_key);
        tensor_digests = take(header.metadata, tensor_digests_key);
        check_header(text);
        for (TensorInfo& tensor : header.tensors) {
            tensor.offset += start;
            index.emplace(tensor.name, index.size());
        }
    }

    void check_header(const std::string& text) const {
        if (digest.empty() && tensor_digests.empty()) return;
        if (digest.size() != Digest::hex_digits || find_header_digest(text) == std::string::npos ||
            digest != digest_of_header(text) ||
            tensor_digests.size() != header.tensors.size() * Digest::hex_digits) {
            refuse(file.path(), "it is damaged: its header does not match its digest");
        }
    }

    std::string_view expected_digest(std::size_t tensor) const {
        return std::string_view(tensor_digests).substr(tensor * Digest::hex_digits, Digest::hex_digits);
    }

    void check_tensor(std::size_t tensor, const Digest& found) const {
        if (!digest.empty() && found.hex() != expected_digest(tensor)) {
            refuse(file.path(),
                   "it is damaged: tensor '" + header.tensors[tensor].name + "' does not match its digest");
        }
    }

    std::size_t require(const std::string& name) const {
        const auto found = index.find(name);
        if (found == index.end()) refuse(file.path(), "it has no tensor '" + name + "'");
        return found->second;
    }
};

SafetensorsFile::SafetensorsFile(const std::string& path, FileSystem& fs)
    : impl_(std::make_unique<Impl>(fs, path)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

const std::string& SafetensorsFile::path() const {
    return impl_->file.path();
}
const std::vector<TensorInfo>& SafetensorsFile::tensors() const {
    return impl_->header.tensors;
}
const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
    return impl_->header.metadata;
}
const std::string& SafetensorsFile::digest() const {
    return impl_->digest;
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
    const auto found = impl_->index.find(name);
    return found == impl_->index.end() ? nullptr : &impl_->header.tensors[found->second];
}

void SafetensorsFile::read(const std::string& name, std::span<std::byte> out) const {
    const std::size_t tensor = impl_->require(name);
    const TensorInfo& info = impl_->header.tensors[tensor];
    if (out.size() != info.bytes) {
        refuse(path(), "tensor '" + name + "' has " + std::to_string(info.bytes) + " bytes, not " +
                           std::to_string(out.size()));
    }
    impl_->file.read_at(out, info.offset);
    Digest digest;
    digest.update(out);
    impl_->check_tensor(tensor, digest);
}

std::vector<float> SafetensorsFile::read_floats(const std::string& name) const {
    const TensorInfo& info = impl_->header.tensors[impl_->require(name)];
    std::vector<float> values(info.bytes / size_of(info.type));
    if (info.type == StoredType::f32) {
        read(name, std::as_writable_bytes(std::span(values)));
    } else {
        std::vector<std::byte> stored(info.bytes);
        read(name, stored);
        to_float(info.type, stored, values);
    }
    return values;
}

void SafetensorsFile::verify() const {
    std::uint64_t largest = 0;
    for (const TensorInfo& info : tensors()) largest = std::max(largest, info.bytes);
    std::vector<std::byte> buffer(std::min<std::uint64_t>(largest, 1 << 20));
    for (std::size_t i = 0; i < tensors().size(); ++i) {
        const TensorInfo& info = tensors()[i];
        Digest digest;
        for (std::uint64_t done = 0; done < info.bytes;) {
            const auto part =
                std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), info.bytes - done));
            impl_->file.read_at(part, info.offset + done);
            digest.update(part);
            done += part.size();
        }
        impl_->check_tensor(i, digest);
    }
}

}  // namespace onecycle
