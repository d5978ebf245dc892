#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "core/digest.h"
#include "core/file.h"
#include "formats/safetensors_header.h"
#include "formats/safetensors_writer.h"

namespace onecycle {
namespace {

// The tensors' order in the file, as indices: large elements first, then by name.
std::vector<std::size_t> file_order(const std::vector<TensorSource>& tensors) {
    std::vector<std::size_t> order(tensors.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        const std::size_t size_a = size_of(tensors[a].type), size_b = size_of(tensors[b].type);
        return size_a != size_b ? size_a > size_b : tensors[a].name < tensors[b].name;
    });
    return order;
}

// The header with zeros for all digests: they have their length before their value is known, so the
// tensors can be written first and the header last, in one pass over the tensors.
SafetensorsHeader plan(const std::vector<TensorSource>& tensors, const std::vector<std::size_t>& order,
                       const std::map<std::string, std::string>& metadata) {
    SafetensorsHeader header;
    header.metadata = metadata;
    header.metadata[header_digest_key] = std::string(Digest::hex_digits, '0');
    header.metadata[tensor_digests_key] = std::string(Digest::hex_digits * tensors.size(), '0');
    std::set<std::string> names = {"__metadata__"};  // is no tensor
    std::uint64_t offset = 0;
    for (const std::size_t i : order) {
        const TensorSource& source = tensors[i];
        if (!names.insert(source.name).second) {
            throw Malformed("there are two tensors named '" + source.name + "'");
        }
        header.tensors.push_back(
            {source.name, source.type, source.shape, offset, bytes_of(source.type, source.shape)});
        offset += header.tensors.back().bytes;
    }
    return header;
}

[[noreturn]] void refuse(const std::string& path, const Malformed& malformed) {
    throw Error(ErrorKind::model, "cannot write model file", path, malformed.what());
}

}  // namespace

TensorSource float_tensor(std::string name, std::vector<std::int64_t> shape, std::span<const float> values) {
    return {std::move(name), StoredType::f32, std::move(shape), [values] { return std::as_bytes(values); }};
}

std::uint64_t safetensors_size(const std::string& path, const std::vector<TensorSource>& tensors,
                               const std::map<std::string, std::string>& metadata) try {
    const SafetensorsHeader header = plan(tensors, file_order(tensors), metadata);
    std::uint64_t size = sizeof(std::uint64_t) + format_header(header).size();
    for (const TensorInfo& tensor : header.tensors) size += tensor.bytes;
    return size;
} catch (const Malformed& malformed) {
    refuse(path, malformed);
}

std::string write_safetensors(const std::string& path, const std::vector<TensorSource>& tensors,
                              const std::map<std::string, std::string>& metadata, FileSystem& fs) try {
    const std::vector<std::size_t> order = file_order(tensors);
    SafetensorsHeader header = plan(tensors, order, metadata);
    const std::uint64_t header_bytes = format_header(header).size();
    if (header_bytes > max_header_bytes) throw Malformed("its names and metadata are too long");
    const std::uint64_t start = sizeof header_bytes + header_bytes;

    AtomicFile file(fs, path);
    std::string digests;
    for (std::size_t i = 0; i < order.size(); ++i) {
        const std::span<const std::byte> bytes = tensors[order[i]].bytes();
        if (bytes.size() != header.tensors[i].bytes) {
            throw Malformed("tensor '" + header.tensors[i].name + "' does not have the size of its shape");
        }
        Digest digest;
        digest.update(bytes);
        digests += digest.hex();
        file.write_at(bytes, start + header.tensors[i].offset);
    }
    header.metadata[tensor_digests_key] = digests;
    std::string text = format_header(header);
    const std::string digest = digest_of_header(text);
    text.replace(find_header_digest(text), digest.size(), digest);
    file.write_at(std::as_bytes(std::span(&header_bytes, 1)), 0);
    file.write_at(std::as_bytes(std::span(text)), sizeof header_bytes);
    file.commit();
    return digest;
} catch (const Malformed& malformed) {
    refuse(path, malformed);
}

std::string write_safetensors(const std::string& path, const std::vector<TensorSource>& tensors,
                              const std::map<std::string, std::string>& metadata) {
    return write_safetensors(path, tensors, metadata, posix_file_system());
}

}  // namespace onecycle
