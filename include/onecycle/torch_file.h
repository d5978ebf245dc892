// Files of torch.save (.pth, .pt): a zip file of one pickle and a record of raw bytes for each
// storage (https://docs.pytorch.org/docs/stable/notes/serialization.html), or, from before version
// 1.6, bare pickles and then the storages.
//
// A pickle is a program. Ours runs on a machine that can make nothing but numbers, texts, lists,
// dictionaries, tensors and placeholders for everything else. It loads no code and opens no file.
#pragma once

#include <memory>

#include "onecycle/tensor_file.h"

namespace onecycle {

// An open file. Its tensors are those of one dictionary in it, or of a whole module, found by
// content at most four deep: the one whose names are a known network's behind a prefix that all of
// them share, which names() leave out. Of several the better known key counts (state_dict,
// model_state_dict, model, net, student, encoder_q and so on); an average (ema, teacher, target,
// momentum, swa) counts with `ema`, or alone. See WeightsPlace for what was taken. float,
// double, half, bfloat16, int64, int32, uint8 and bool storages (tensors of others are left out);
// Parameters; shared storages; any strides. Without metadata.
class TorchFile final : public TensorFile {
  public:
    // Reads and checks everything but the tensors' bytes. Throws Error(model) for what is
    // malformed, for tar files from before version 0.4, for TorchScript and for contents without
    // weights, with the way to convert it where there is one; Error(io) when reading fails.
    explicit TorchFile(const std::string& path, FileSystem& fs = posix_file_system(), bool ema = false,
                       const KnownNetworks& known = {});
    ~TorchFile() override;

    // Compares every record with its CRC-32, where whoever wrote the file computed them.
    void verify() const override;
    // Compares the file with the first digits of its SHA-256 where its name is one under which
    // such a network is published (KnownNetworks::published). Reads it all, once.
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
