// Files of named tensors: reading those of PyTorch and safetensors files, and writing the latter.
//
// safetensors (https://github.com/huggingface/safetensors): eight bytes with the length of a JSON
// header, the header, then the tensors' bytes: little-endian, row-major, without gaps. What we
// write also carries digests in its metadata: one of each tensor's bytes, and one of the header (in
// which those stand), so a single changed bit anywhere is found on reading. Files from elsewhere
// have none and are read all the same.
//
// torch.save (.pth, .pt): a zip file of one pickle and a record of raw bytes for each storage
// (https://docs.pytorch.org/docs/stable/notes/serialization.html), or, from before version 1.6,
// bare pickles and then the storages. A pickle is a program. Ours runs on a machine that can make
// nothing but numbers, texts, lists, dictionaries, tensors and placeholders for everything else. It
// loads no code and opens no file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace onecycle {

enum class StoredType { f64, f32, f16, bf16, i64, i32, u8, boolean };

std::size_t size_of(StoredType type);  // bytes of one element
const char* name_of(StoredType type);  // as in a safetensors file: "F32"
// stored: out.size() elements of this type. Rounds to nearest.
void to_float(StoredType type, std::span<const std::byte> stored, std::span<float> out);

struct TensorInfo {
    std::string name;
    StoredType type = StoredType::f32;
    std::vector<std::int64_t> shape;  // empty: a scalar
    std::uint64_t offset = 0;         // of its first byte, from the start of the file
    std::uint64_t bytes = 0;          // of its elements, without gaps
};

// How a kind of network is told by the names of its tensors, and what else a reader must know to
// find its weights in a file from elsewhere.
struct NetworkMarks {
    std::string first, second;          // the weights of its first two convolutions
    std::string statistics;             // the running means of its first norm
    std::string classifier;             // the weights of its last layer
    std::vector<std::string> children;  // see Architecture::children

    bool operator==(const NetworkMarks&) const = default;
};
struct KnownNetworks {
    std::vector<NetworkMarks> marks{};
    // Names of published files, with the first digits of their SHA-256: see
    // TensorFile::verify_name().
    std::vector<std::string> published{};
};

// Which of the sets of weights in a file are the network's. The parts of the way to them and the
// prefix of their names make a label, as "state_dict/module.".
struct WeightsPlace {
    std::string taken{};                // empty: the whole file, its names as they are
    bool ema = false;                   // those taken are a moving average
    std::vector<std::string> others{};  // that fit a network too
    std::string problem{};              // why none can be used though some fit; else empty
    std::string fix{};                  // of the problem
};

// An open file. Reading goes through pread into the caller's memory, never through a mapping: a
// file that is replaced or cut while in use gives an error, not a crash.
class TensorFile {
  public:
    virtual ~TensorFile() = default;

    const std::string& path() const { return path_; }
    const std::vector<TensorInfo>& tensors() const { return tensors_; }
    const std::map<std::string, std::string>& metadata() const { return metadata_; }
    const WeightsPlace& weights() const { return weights_; }

    // The network's own names, without the prefix that WeightsPlace tells, and which of tensors()
    // each is. Tensors without the prefix have none.
    const std::map<std::string, std::size_t>& names() const { return names_; }

    // By the network's own name; nullptr when there is no such tensor.
    const TensorInfo* find(const std::string& name) const;

    // Reads one tensor, row-major; `out` has exactly its size. Throws Error(model) for a missing
    // name or when the bytes do not match their checksum, Error(io) when reading fails.
    void read(const std::string& name, std::span<std::byte> out) const;
    std::vector<float> read_floats(const std::string& name) const;
    // Memory that is used again.
    void read_floats(const std::string& name, std::vector<float>& out) const;

    // Checks every checksum, that in the file's name too, reading what they cover once. Throws as
    // read().
    virtual void verify() const = 0;

    // Compares a file of torch.save with the first digits of its SHA-256 where its name is one under
    // which such a network is published (KnownNetworks::published). Reads it all, once. Throws as
    // read().
    virtual void verify_name() const {}

    // "safetensors" or "PyTorch".
    virtual const char* format() const = 0;
    // Of all contents, 32 hex digits; empty when the file carries none: it is none of ours.
    virtual std::string digest() const { return {}; }

  protected:
    TensorFile() = default;
    TensorFile(TensorFile&&) = default;
    TensorFile& operator=(TensorFile&&) = default;

    // To be called once by the constructor of a format. No two tensors have one name.
    void describe(std::string path, std::vector<TensorInfo> tensors,
                  std::map<std::string, std::string> metadata);
    // What find() knows tensors by, see network_name() in formats/weights_place.h, and where the
    // weights are.
    void choose(const std::string& prefix, const std::vector<std::string>& children, WeightsPlace place);

    virtual void read(std::size_t tensor, std::span<std::byte> out) const = 0;

  private:
    std::string path_;
    std::vector<TensorInfo> tensors_;
    std::map<std::string, std::string> metadata_;
    std::map<std::string, std::size_t> names_;
    WeightsPlace weights_;
};

// Opens a safetensors file or one of torch.save: what it is, its first bytes say, not its name.
//
// Where it holds several sets of weights, tensors() are those of one dictionary in it, or of a whole
// module, found by content at most four deep: the one whose names are a known network's behind a
// prefix that all of them share, which names() leave out. Of several the better known key counts
// (state_dict, model_state_dict, model, net, student, encoder_q and so on); an average (ema,
// teacher, target, momentum, swa) counts with `ema`, or alone. See WeightsPlace for what was taken.
// Of a safetensors file from elsewhere they are chosen by their names likewise; one of ours knows
// its own.
//
// safetensors: tensors are in the order of their bytes, metadata comes without the digests.
// PyTorch: float, double, half, bfloat16, int64, int32, uint8 and bool storages (tensors of others
// are left out); Parameters; shared storages; any strides. Without metadata.
//
// Throws Error(model) for anything but a well-formed file (lengths, duplicate names, unknown types,
// gaps, overlaps, trailing bytes, a header whose digest differs), for tar files from before version
// 0.4 of PyTorch, for TorchScript and for contents without weights, with the way to convert it
// where there is one; Error(io) when reading fails.
std::unique_ptr<TensorFile> open_tensor_file(const std::string& path, bool ema = false,
                                             const KnownNetworks& known = {});

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

// Writes a safetensors file, atomically and durably; one that is there is replaced. Equal contents
// give equal bytes: tensors are ordered by element size (descending, which keeps them aligned), then
// by name. Returns the file's digest. Throws Error(io); the old file is then untouched. Throws
// Error(model) for two tensors of one name, a source whose bytes do not fit its shape, or text that
// is not UTF-8.
std::string write_safetensors(const std::string& path, const std::vector<TensorSource>& tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace onecycle
