// State dicts that torch.save wrote (.pth, .pt): a zip file of one pickle and a record of raw bytes for each storage
// (https://docs.pytorch.org/docs/stable/notes/serialization.html).
//
// A pickle is a program. Ours runs on a machine that knows the few instructions a state dict needs and can make
// nothing but numbers, texts, lists, dictionaries and tensors. It loads no code, opens no file, and refuses
// everything else by name.
#pragma once

#include <memory>

#include "onecycle/tensor_file.h"

namespace onecycle {

// An open file. Its tensors are those of the dictionary in it, or of that dictionary's entry "state_dict" or "model";
// a "module." that all names begin with is left out. float, double, half, bfloat16 and int64 storages; Parameters;
// shared storages; any strides that repeat no element. Without metadata.
class TorchFile final : public TensorFile {
  public:
    // Reads and checks everything but the tensors' bytes. Throws Error(model) for what is malformed, for the older
    // forms (tar, bare pickles) and for contents that are not those of a state dict, with the way to convert it;
    // Error(io) when reading fails.
    explicit TorchFile(const std::string& path, FileSystem& fs = posix_file_system());
    ~TorchFile() override;

    // Compares every record with its CRC-32, where whoever wrote the file computed them.
    void verify() const override;
    // Compares the file with the first digits of its SHA-256 that torchvision puts into the names of its files
    // (resnet34-b627a593.pth; the digits of a date, as in resnet34-20261125.pth, are none). Reads it all, once.
    void verify_name() const override;
    using TensorFile::read;

  private:
    void read(std::size_t tensor, std::span<std::byte> out) const override;

    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Whether a file begins as one of PyTorch's does, the older forms included. Throws as InputFile.
bool looks_like_torch(const std::string& path, FileSystem& fs = posix_file_system());

}  // namespace onecycle
