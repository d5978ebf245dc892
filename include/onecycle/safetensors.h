// safetensors files (https://github.com/huggingface/safetensors): eight bytes with the length of a
// JSON header, the header, then the tensors' bytes: little-endian, row-major, without gaps.
//
// What we write also carries digests in its metadata: one of each tensor's bytes, and one of the
// header (in which those stand), so a single changed bit anywhere is found on reading. Files from
// elsewhere have none and are read all the same.
#pragma once

#include <functional>

#include "onecycle/tensor_file.h"

namespace onecycle {

class SafetensorsFile final : public TensorFile {
  public:
    // Reads and checks the header. Throws Error(model) for anything but a well-formed file
    // (lengths, duplicate names, unknown types, gaps, overlaps, trailing bytes, a header whose
    // digest differs), Error(io) when reading fails. Tensors are in the order of their bytes;
    // metadata comes without the digests. Of a file from elsewhere the weights are chosen as
    // TorchFile chooses them; one of ours knows its names.
    explicit SafetensorsFile(const std::string& path, FileSystem& fs = posix_file_system(), bool ema = false,
                             const KnownNetworks& known = {});
    ~SafetensorsFile() override;
    SafetensorsFile(SafetensorsFile&&) noexcept;
    SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

    // Of all contents, 32 hex digits; empty when the file carries none.
    const std::string& digest() const;

    void verify() const override;
    using TensorFile::read;

  private:
    void read(std::size_t tensor, std::span<std::byte> out) const override;

    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// A tensor to be written. `bytes` is called once, when its turn comes, and what it returns must
// stay as it is until the next tensor's turn: a tensor kept in another layout or on a device can be
// made plain in a buffer that all share.
struct TensorSource {
    std::string name;
    StoredType type = StoredType::f32;
    std::vector<std::int64_t> shape;
    std::function<std::span<const std::byte>()> bytes;
};

// A source for floats that lie in memory as they are to be stored.
TensorSource float_tensor(std::string name, std::vector<std::int64_t> shape, std::span<const float> values);

// The size in bytes of the file that write_safetensors would make. Throws Error(model) as it does.
std::uint64_t safetensors_size(const std::string& path, const std::vector<TensorSource>& tensors,
                               const std::map<std::string, std::string>& metadata);

// Writes a file, atomically and durably; one that is there is replaced. Equal contents give equal
// bytes: tensors are ordered by element size (descending, which keeps them aligned), then by name.
// Returns the file's digest. Throws Error(io); the old file is then untouched. Throws Error(model)
// for two tensors of one name, a source whose bytes do not fit its shape, or text that is not
// UTF-8.
std::string write_safetensors(const std::string& path, const std::vector<TensorSource>& tensors,
                              const std::map<std::string, std::string>& metadata,
                              FileSystem& fs = posix_file_system());

}  // namespace onecycle
