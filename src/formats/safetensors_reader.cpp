#include <algorithm>

#include "core/digest.h"
#include "core/file.h"
#include "formats/malformed.h"
#include "formats/readers.h"
#include "formats/safetensors_header.h"
#include "formats/weights_place.h"
#include "formats/weights_recipe.h"
#include "onecycle/tensor_file.h"

namespace onecycle {
namespace {

std::string read_header(const InputFile& file) {
    std::uint64_t length = 0;
    if (file.size() == 0) refuse_model(file.path(), "it is empty");
    if (file.size() < sizeof length) refuse_model(file.path(), "it is too short to be a safetensors file");
    file.read_at(std::as_writable_bytes(std::span(&length, 1)), 0);
    if (length > max_header_bytes || length > file.size() - sizeof length) {
        refuse_model(file.path(),
                     "it is neither a safetensors file nor one of torch.save, or it is cut short",
                     "give a whole file of one of the two");
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

    Impl(FileSystem& fs, const std::string& path) : file(fs, path, ErrorKind::model) {
        const std::string text = read_header(file);
        const std::uint64_t start = sizeof(std::uint64_t) + text.size();
        try {
            header = parse_header(text, file.size() - start);
        } catch (const Malformed& malformed) {
            refuse_model(path, malformed.what());
        }
        digest = take(header.metadata, header_digest_key);
        tensor_digests = take(header.metadata, tensor_digests_key);
        check_header(text);
        for (TensorInfo& tensor : header.tensors) tensor.offset += start;
    }

    void check_header(const std::string& text) const {
        if (digest.empty() && tensor_digests.empty()) return;
        if (digest.size() != Digest::hex_digits || find_header_digest(text) == std::string::npos ||
            digest != digest_of_header(text) ||
            tensor_digests.size() != header.tensors.size() * Digest::hex_digits) {
            refuse_model(file.path(), "it is damaged: its header does not match its digest");
        }
    }

    void check_tensor(const TensorInfo& tensor, std::size_t index, const Digest& found) const {
        if (digest.empty()) return;
        if (found.hex() !=
            std::string_view(tensor_digests).substr(index * Digest::hex_digits, Digest::hex_digits))
            refuse_model(file.path(),
                         "it is damaged: tensor '" + tensor.name + "' does not match its digest");
    }
};

SafetensorsFile::SafetensorsFile(const std::string& path, FileSystem& fs, bool ema,
                                 const KnownNetworks& known)
    : impl_(std::make_unique<Impl>(fs, path)) {
    describe(path, std::move(impl_->header.tensors), std::move(impl_->header.metadata));
    if (!impl_->digest.empty() && !ema) return;
    NamedTensors all;
    for (const TensorInfo& tensor : tensors()) all.names.push_back(tensor.name);
    ChosenWeights chosen = choose_weights({all}, ema, known.marks);
    if (!chosen.place.problem.empty())
        chosen.place.fix =
            ema && !chosen.place.ema
                ? leave_out_ema
                : keep_one(path, "safetensors.torch.load_file(sys.argv[1])", {}, chosen.prefix);
    choose(chosen.prefix, chosen.children, std::move(chosen.place));
}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

std::string SafetensorsFile::digest() const {
    return impl_->digest;
}

void SafetensorsFile::read(std::size_t tensor, std::span<std::byte> out) const {
    const TensorInfo& info = tensors()[tensor];
    impl_->file.read_at(out, info.offset);
    Digest digest;
    digest.update(out);
    impl_->check_tensor(info, tensor, digest);
}

void SafetensorsFile::verify() const {
    if (impl_->digest.empty()) return;  // not ours: there is nothing to compare with
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
        impl_->check_tensor(info, i, digest);
    }
}

}  // namespace onecycle
