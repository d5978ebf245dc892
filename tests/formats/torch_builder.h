// Builds files like torch.save's, piece by piece, so that each piece can be wrong.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

namespace onecycle::test {

inline void put(std::string& to, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i));
}

struct Record {
    std::string name, bytes;
    std::uint16_t method = 0, flags = 0x800;
    std::uint32_t crc_change = 0;      // XORed to both CRCs
    std::int64_t size_change = 0;      // added to both sizes
    std::string own_name{};            // in its own header, when it differs
    std::int64_t own_size_change = 0;  // added to the size in its own header
    std::uint64_t header_offset_change = 0;
    std::string comment{};
};

struct Zip {
    std::vector<Record> records;
    std::string before{}, before_directory{}, comment{}, after{};
    int count_change = 0, directory_change = 0;
    std::uint16_t disk = 0;

    std::string bytes() const {
        std::string file = before, directory;
        for (const Record& r : records) {
            const std::uint64_t at = file.size() + r.header_offset_change;
            const auto crc = static_cast<std::uint32_t>(
                                 crc32_z(0, reinterpret_cast<const Bytef*>(r.bytes.data()), r.bytes.size())) ^
                             r.crc_change;
            const std::uint64_t size = r.bytes.size() + static_cast<std::uint64_t>(r.size_change);
            const std::string& own_name = r.own_name.empty() ? r.name : r.own_name;
            const std::uint64_t own_size = size + static_cast<std::uint64_t>(r.own_size_change);
            file += "PK\x03\x04";
            put(file, 0, 2), put(file, r.flags, 2), put(file, r.method, 2), put(file, 0, 4),
                put(file, crc, 4);
            put(file, own_size, 4), put(file, own_size, 4), put(file, own_name.size(), 2), put(file, 0, 2);
            file += own_name + r.bytes;
            directory += "PK\x01\x02";
            put(directory, 0, 4), put(directory, r.flags, 2), put(directory, r.method, 2),
                put(directory, 0, 4);
            put(directory, crc, 4), put(directory, size, 4), put(directory, size, 4),
                put(directory, r.name.size(), 2);
            put(directory, 0, 2), put(directory, r.comment.size(), 2), put(directory, 0, 8),
                put(directory, at, 4);
            directory += r.name + r.comment;
        }
        file += before_directory;
        const std::uint64_t at = file.size() + static_cast<std::uint64_t>(std::int64_t{directory_change});
        file += directory + "PK\x05\x06";
        const std::uint64_t count = records.size() + static_cast<std::uint64_t>(std::int64_t{count_change});
        put(file, disk, 2), put(file, 0, 2), put(file, count, 2), put(file, count, 2),
            put(file, directory.size(), 4);
        put(file, at, 4), put(file, comment.size(), 2);
        return file + comment + after;
    }
};

// --- pickle ---

inline std::string text(const std::string& s) {
    std::string p = "X";
    put(p, s.size(), 4);
    return p + s;
}
inline std::string number(std::int64_t n) {
    std::string p = "\x8a\x08";
    put(p, static_cast<std::uint64_t>(n), 8);
    return p;
}
inline std::string global(const std::string& module, const std::string& name) {
    return "c" + module + '\n' + name + '\n';
}
inline std::string tuple(const std::vector<std::string>& items) {
    std::string p = "(";
    for (const std::string& item : items) p += item;
    return p + 't';
}
inline std::string numbers(const std::vector<std::int64_t>& values) {
    std::vector<std::string> items;
    for (const std::int64_t value : values) items.push_back(number(value));
    return tuple(items);
}
inline std::string storage(const std::string& type, const std::string& key, std::int64_t elements) {
    return tuple({text("storage"), global("torch", type), text(key), text("cpu"), number(elements)}) + 'Q';
}
inline const std::string ordered_dict = global("collections", "OrderedDict") + ")R";
inline std::string view(const std::string& of, std::int64_t offset, const std::vector<std::int64_t>& shape,
                        const std::vector<std::int64_t>& strides) {
    return global("torch._utils", "_rebuild_tensor_v2") +
           tuple({of, number(offset), numbers(shape), numbers(strides), "\x89", ordered_dict}) + 'R';
}
// {name: value, ...}
inline std::string dictionary(const std::vector<std::pair<std::string, std::string>>& items) {
    std::string p = "}(";
    for (const auto& [name, value] : items) p += text(name) + value;
    return p + 'u';
}
inline std::string whole(const std::string& value) {
    return "\x80\x02" + value + '.';
}

// One tensor "w" of 2 x 3 floats.
inline const std::string good_tensor = view(storage("FloatStorage", "0", 6), 0, {2, 3}, {3, 1});
inline const std::string good_pickle = whole(dictionary({{"w", good_tensor}}));

inline Zip archive(const std::string& pickle) {
    return {{{"archive/data.pkl", pickle},
             {"archive/byteorder", "little"},
             {"archive/data/0", std::string(24, '\0')},
             {"archive/version", "3\n"}}};
}

}  // namespace onecycle::test
