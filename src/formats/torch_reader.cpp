#include <openssl/evp.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "core/echoed.h"
#include "core/file.h"
#include "formats/malformed.h"
#include "formats/readers.h"
#include "formats/safetensors_header.h"
#include "formats/state_dict.h"
#include "formats/weights_recipe.h"
#include "formats/zip.h"

namespace onecycle {
namespace {

constexpr std::uint64_t max_pickle_bytes = 512 << 20, window_bytes = 16 << 20, max_note_bytes = 64;

// Reasons to refuse a file, each with a way out of its own.
struct TorchScript : Malformed {
    using Malformed::Malformed;
};
enum class Form { zip, bare_pickle, tar, other };

Form form_of(const InputFile& file) {
    std::array<std::byte, 262> bytes{};
    const auto first = std::span(bytes).first(std::min<std::uint64_t>(file.size(), bytes.size()));
    file.read_at(first, 0);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), first.size());
    if (text.starts_with("PK\x03\x04") || text.starts_with("PK\x05\x06")) return Form::zip;
    // A safetensors file has its header's length here, and its '{' as the ninth byte.
    if (text.size() > 8 && text[8] == '{') return Form::other;
    if (text.size() > 1 && text[0] == '\x80' && text[1] >= 1 && text[1] <= 5) return Form::bare_pickle;
    if (text.size() >= 262 && text.substr(257, 5) == "ustar") return Form::tar;
    return Form::other;
}

bool is_contiguous(const PickledTensor& tensor) {
    std::int64_t expected = 1;
    for (std::size_t i = tensor.shape.size(); i-- > 0;) {
        if (tensor.shape[i] == 0) return true;
        if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
        expected *= tensor.shape[i];
    }
    return true;
}

// Elements from the first of the view to its last, both included.
std::uint64_t reach_of(const PickledTensor& tensor) {
    std::uint64_t reach = 1;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
        if (tensor.shape[i] == 0) return 0;
        reach +=
            static_cast<std::uint64_t>(tensor.shape[i] - 1) * static_cast<std::uint64_t>(tensor.strides[i]);
    }
    return reach;
}

// The first digits of the file's SHA-256, in lower-case hex.
std::string sha256(const InputFile& file, std::size_t digits) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
    std::vector<std::byte> buffer(std::min<std::uint64_t>(file.size(), 1 << 20));
    for (std::uint64_t done = 0; done < file.size();) {
        const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), file.size() - done));
        file.read_at(part, done);
        EVP_DigestUpdate(context.get(), part.data(), part.size());
        done += part.size();
    }
    std::array<unsigned char, 32> hash{};
    EVP_DigestFinal_ex(context.get(), hash.data(), nullptr);
    std::string text;
    for (const unsigned char byte : hash)
        for (const int half : {byte >> 4, byte & 15}) text += "0123456789abcdef"[half];
    return text.substr(0, digits);
}

// Empty in a name of no published file.
std::string published_hash(const std::string& path, const std::vector<std::string>& published) {
    const std::string name = path.substr(path.rfind('/') + 1);
    if (std::find(published.begin(), published.end(), name) == published.end()) return "";
    return name.substr(name.find('-') + 1, 8);
}

}  // namespace

struct TorchFile::Impl {
    InputFile file;
    std::vector<ZipRecord> records;
    StateDict dict;
    std::vector<std::size_t> record_of;  // of each tensor
    mutable std::vector<bool> checked;   // records whose CRC was found right
    mutable bool name_checked = false;   // and found to be the file's
    std::string folder;
    std::vector<std::string> published;
    std::vector<NetworkMarks> marks;

    Impl(FileSystem& fs, const std::string& path) : file(fs, path, ErrorKind::model) {}

    const ZipRecord* find(const std::string& name) const {
        for (const ZipRecord& record : records)
            if (record.name == folder + name) return &record;
        return nullptr;
    }

    std::vector<std::byte> contents(const ZipRecord& record, std::uint64_t most) const {
        if (record.compressed) throw Malformed("its record '" + record.name + "' is compressed");
        if (record.bytes > most) throw Malformed("its record '" + record.name + "' is too large");
        std::vector<std::byte> bytes(record.bytes);
        file.read_at(bytes, record.offset);
        check(record, static_cast<std::uint32_t>(
                          crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size())));
        return bytes;
    }

    static void check(const ZipRecord& record, std::uint32_t found) {
        if (record.crc != 0 && record.crc != found)
            throw Malformed("it is damaged: its record '" + record.name + "' does not match its CRC");
    }

    void check(std::size_t r) const {
        const ZipRecord& record = records[r];
        if (checked[r] || record.crc == 0) return;
        std::vector<std::byte> buffer(std::min<std::uint64_t>(record.bytes, 1 << 20));
        uLong crc = 0;
        for (std::uint64_t done = 0; done < record.bytes;) {
            const auto part =
                std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), record.bytes - done));
            file.read_at(part, record.offset + done);
            crc = crc32_z(crc, reinterpret_cast<const Bytef*>(part.data()), part.size());
            done += part.size();
        }
        check(record, static_cast<std::uint32_t>(crc));
        checked[r] = true;
    }

    // The folder that all records are in, "archive/" for example.
    void find_folder() {
        if (records.empty()) throw Malformed("it has no records");
        folder = records[0].name.substr(0, records[0].name.find('/') + 1);
        for (const ZipRecord& record : records)
            if (folder.size() < 2 || !record.name.starts_with(folder))
                throw Malformed("it is no file of torch.save: its records are not in one folder");
    }

    std::string note(const char* name) const {
        const ZipRecord* record = find(name);
        if (!record) return "";
        const auto bytes = contents(*record, max_note_bytes);
        std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        while (text.ends_with('\n')) text.pop_back();
        return text;
    }

    void check_notes() const {
        const std::string order = note("byteorder"), version = note("version");
        if (!order.empty() && order != "little")
            throw Malformed("its numbers are not little-endian but '" + order + "'");
        const bool known = !version.empty() && version.size() <= 2 &&
                           version.find_first_not_of("0123456789") == std::string::npos &&
                           std::stoi(version) >= 1 && std::stoi(version) <= 10;
        if (!known) throw Malformed("it is no file of torch.save, or of an unknown version");
    }

    bool is_program() const {
        if (find("constants.pkl")) return true;
        return std::any_of(records.begin(), records.end(),
                           [&](const ZipRecord& r) { return r.name.starts_with(folder + "code/"); });
    }

    // A zip file: one pickle, and a record for each storage.
    void load_zip(bool ema) {
        records = read_zip_directory(file);
        find_folder();
        const ZipRecord* pickle = find("data.pkl");
        if (!pickle) throw Malformed("it is no file of torch.save: it has no data.pkl");
        if (is_program())
            throw TorchScript("it is a TorchScript program (torch.jit.save), not a file of weights");
        for (const ZipRecord& record : records)
            if (record.compressed) throw Malformed("its record '" + record.name + "' is compressed");
        check_notes();
        const std::vector<std::byte> bytes = contents(*pickle, max_pickle_bytes);
        const Pickle made(bytes);
        if (made.size() != bytes.size()) throw Malformed("its pickle has bytes behind its end");
        dict = find_state_dict(made, ema, marks);
    }

    // Before version 1.6: pickles of a magic number, a version, the machine, the object, and the
    // list of the storages' keys; then for each the number of its elements and their bytes.
    void load_bare(bool ema) {
        std::vector<std::byte> bytes(std::min(file.size(), is_of_torch() ? window_bytes : max_pickle_bytes));
        file.read_at(bytes, 0);
        std::span<const std::byte> rest(bytes);
        const auto next = [&] {
            Pickle pickle(rest);
            rest = rest.subspan(pickle.size());
            return pickle;
        };
        const Pickle magic = next();
        if (!is_of_torch()) {
            find_state_dict(magic, ema, marks);  // which says what there is
            throw OtherWeights("it is a pickle, but none that torch.save wrote");
        }
        const Pickle version = next();
        if (version[version.root()].number != 1001)
            throw Malformed("it is of an unknown version of torch.save");
        const Pickle machine = next();
        check_byte_order(machine);
        const Pickle object = next(), keys = next();
        std::uint64_t at = bytes.size() - rest.size();
        for (const std::size_t key : keys[keys.root()].items) at = add_storage(keys[key].string, object, at);
        if (at != file.size()) throw Malformed("it has bytes behind its last storage");
        dict = find_state_dict(object, ema, marks);
    }

    // Whether the magic number of torch.save stands in its first pickle, after at most a protocol
    // and a frame.
    bool is_of_torch() const {
        std::array<std::byte, 32> bytes{};
        const auto first = std::span(bytes).first(std::min<std::uint64_t>(file.size(), bytes.size()));
        file.read_at(first, 0);
        const std::string_view text(reinterpret_cast<const char*>(bytes.data()), first.size());
        return text.find("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19") != std::string_view::npos;
    }

    static void check_byte_order(const Pickle& machine) {
        const PickleValue& facts = machine[machine.root()];
        for (std::size_t i = 0; i + 1 < facts.items.size(); i += 2)
            if (machine.item(facts, i).string == "little_endian" && machine.item(facts, i + 1).number != 1)
                throw Malformed("its numbers are not little-endian");
    }

    // Returns where it ends.
    std::uint64_t add_storage(const std::string& key, const Pickle& object, std::uint64_t at) {
        for (const std::size_t s : object.storages()) {
            const PickleValue& storage = object[s];
            if (storage.string != key) continue;
            std::uint64_t elements = 0, bytes = 0;
            if (file.size() - at < sizeof elements) throw Malformed("it is cut short");
            file.read_at(std::as_writable_bytes(std::span(&elements, 1)), at);
            at += sizeof elements;
            const std::size_t size = element_size(object[storage.of].string);
            if (size == 0 || elements != static_cast<std::uint64_t>(storage.number) ||
                __builtin_mul_overflow(elements, size, &bytes))
                throw Malformed("its storage " + key + " does not have the size it should have");
            if (bytes > file.size() - at) throw Malformed("it is cut short");
            records.push_back({.name = "data/" + key, .offset = at, .bytes = bytes});
            return at + bytes;
        }
        throw Malformed("it has the storage " + echoed(key) + ", which nothing uses");
    }

    // Finds each tensor's record.
    void place_tensors() {
        checked.assign(records.size(), false);
        if (dict.tensors.size() > max_tensors) throw Malformed("it has too many tensors");
        std::unordered_map<std::string, std::size_t> by_name;
        for (std::size_t r = 0; r < records.size(); ++r) by_name[records[r].name] = r;
        for (const PickledTensor& tensor : dict.tensors) {
            const auto found = by_name.find(folder + "data/" + tensor.storage);
            if (found == by_name.end())
                throw Malformed("tensor '" + tensor.name + "' has no record data/" + tensor.storage);
            const std::uint64_t bytes = records[found->second].bytes;
            if (bytes % size_of(tensor.type) != 0 || bytes / size_of(tensor.type) != tensor.storage_elements)
                throw Malformed("the storage of tensor '" + tensor.name +
                                "' does not have the size it should have");
            record_of.push_back(found->second);
        }
    }

    std::vector<TensorInfo> infos() const {
        std::vector<TensorInfo> infos;
        for (std::size_t i = 0; i < dict.tensors.size(); ++i) {
            const PickledTensor& t = dict.tensors[i];
            infos.push_back({t.name, t.type, t.shape,
                             records[record_of[i]].offset + t.offset * size_of(t.type),
                             bytes_of(t.type, t.shape)});
        }
        return infos;
    }
};

TorchFile::TorchFile(const std::string& path, FileSystem& fs, bool ema, const KnownNetworks& known)
    : impl_(std::make_unique<Impl>(fs, path)) {
    impl_->published = known.published;
    impl_->marks = known.marks;
    const Form form = form_of(impl_->file);
    if (form == Form::tar)
        refuse_model(path, "it is a tar file, as torch.save wrote them before version 0.4",
                     convert(path, torch_load, known.marks));
    if (form == Form::other) refuse_model(path, "it is no file of torch.save");
    try {
        if (form == Form::zip)
            impl_->load_zip(ema);
        else
            impl_->load_bare(ema);
        impl_->place_tensors();
        describe(path, impl_->infos(), {});
    } catch (const TorchScript& program) {
        refuse_model(path, program.what(), convert_torchscript(path));
    } catch (const OtherWeights& other) {
        const bool torch = form == Form::zip || impl_->is_of_torch();
        refuse_model(path, other.what(),
                     convert(path, torch ? torch_load : "pickle.load(open(sys.argv[1], 'rb'))", known.marks));
    } catch (const NotAStateDict& other) {
        refuse_model(path, other.what(), "give a file with the weights of a network");
    } catch (const Harmful& harmful) {
        refuse_model(path, harmful.what(), "delete it, and take the weights from where you trust");
    } catch (const Malformed& malformed) {
        refuse_model(path, malformed.what());
    }
    ChosenWeights& chosen = impl_->dict.chosen;
    if (!chosen.place.problem.empty())
        chosen.place.fix = ema && !chosen.place.ema ? leave_out_ema
                           : impl_->dict.indexed ? keep_one(path, torch_load, impl_->dict.keys, chosen.prefix)
                                                 : "give a file with one of them alone";
    choose(chosen.prefix, chosen.children, chosen.place);
}
TorchFile::~TorchFile() = default;

void TorchFile::verify() const {
    try {
        for (std::size_t r = 0; r < impl_->records.size(); ++r) impl_->check(r);
    } catch (const Malformed& malformed) {
        refuse_model(path(), malformed.what());
    }
    verify_name();
}

void TorchFile::verify_name() const {
    const std::string expected = published_hash(path(), impl_->published);
    if (expected.empty() || impl_->name_checked) return;
    const std::string found = sha256(impl_->file, expected.size());
    if (found != expected)
        refuse_model(path(),
                     "its SHA-256 begins with " + found + ", not with " + expected + " as its name says",
                     "download it again, or give a file of your own another name");
    impl_->name_checked = true;
}

void TorchFile::read(std::size_t index, std::span<std::byte> out) const {
    const PickledTensor& tensor = impl_->dict.tensors[index];
    const TensorInfo& info = tensors()[index];
    try {
        impl_->check(impl_->record_of[index]);
    } catch (const Malformed& malformed) {
        refuse_model(path(), malformed.what());
    }
    if (is_contiguous(tensor)) return impl_->file.read_at(out, info.offset);
    const std::size_t size = size_of(tensor.type);
    std::vector<std::byte> view(reach_of(tensor) * size);
    impl_->file.read_at(view, info.offset);
    std::vector<std::int64_t> place(tensor.shape.size(), 0);
    std::uint64_t from = 0;  // elements
    for (std::size_t to = 0; to < out.size(); to += size) {
        std::memcpy(out.data() + to, view.data() + from * size, size);
        for (std::size_t d = place.size(); d-- > 0;) {  // the next place, last dimension first
            from += static_cast<std::uint64_t>(tensor.strides[d]);
            if (++place[d] < tensor.shape[d]) break;
            from -=
                static_cast<std::uint64_t>(tensor.strides[d]) * static_cast<std::uint64_t>(tensor.shape[d]);
            place[d] = 0;
        }
    }
}

bool looks_like_torch(const std::string& path, FileSystem& fs) {
    return form_of(InputFile(fs, path, ErrorKind::model)) != Form::other;
}

}  // namespace onecycle
