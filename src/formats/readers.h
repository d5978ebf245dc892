// The readers behind open_tensor_file(), in any file system. What they accept and refuse is told
// there.
#pragma once

#include <memory>
#include <string>

#include "core/file.h"
#include "onecycle/tensor_file.h"

namespace onecycle {

class SafetensorsFile final : public TensorFile {
  public:
    explicit SafetensorsFile(const std::string& path, FileSystem& fs = posix_file_system(), bool ema = false,
                             const KnownNetworks& known = {});
    ~SafetensorsFile() override;
    SafetensorsFile(SafetensorsFile&&) noexcept;
    SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

    const char* format() const override { return "safetensors"; }
    std::string digest() const override;
    void verify() const override;
    using TensorFile::read;

  private:
    void read(std::size_t tensor, std::span<std::byte> out) const override;

    struct Impl;
    std::unique_ptr<Impl> impl_;
};

class TorchFile final : public TensorFile {
  public:
    explicit TorchFile(const std::string& path, FileSystem& fs = posix_file_system(), bool ema = false,
                       const KnownNetworks& known = {});
    ~TorchFile() override;

    const char* format() const override { return "PyTorch"; }
    // Compares every record with its CRC-32, where whoever wrote the file computed them.
    void verify() const override;
    void verify_name() const override;
    using TensorFile::read;

  private:
    void read(std::size_t tensor, std::span<std::byte> out) const override;

    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Whether a file begins as one of PyTorch's does, the older forms included. Throws as InputFile.
bool looks_like_torch(const std::string& path, FileSystem& fs = posix_file_system());

std::unique_ptr<TensorFile> open_tensor_file(const std::string& path, FileSystem& fs, bool ema = false,
                                             const KnownNetworks& known = {});

}  // namespace onecycle
