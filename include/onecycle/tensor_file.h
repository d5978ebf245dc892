// Files of named tensors: what reading a safetensors file and reading PyTorch's have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace onecycle {

class FileSystem;
FileSystem& posix_file_system();

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
    // Names of published files, with the first digits of their SHA-256: see TorchFile.
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

    // Checks that the file is the one that its name promises, where a name does: see TorchFile.
    // Throws as read().
    virtual void verify_name() const {}

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

// Opens a safetensors file or a state dict that torch.save wrote: what it is, its first bytes say,
// not its name. Where several sets of weights in it fit one of the known networks, `ema` says
// which: see TorchFile. Throws as SafetensorsFile and TorchFile.
std::unique_ptr<TensorFile> open_tensor_file(const std::string& path, FileSystem& fs = posix_file_system(),
                                             bool ema = false, const KnownNetworks& known = {});

}  // namespace onecycle
