// Folders of class folders as a test wants them, and what opening them says.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "data/files.h"
#include "onecycle/dataset.h"
#include "onecycle/error.h"

namespace onecycle::test {

// `count` images named 000.png, ... in a class folder.
inline void add_class(const fs::path& folder, int count, const std::string& fixture = "one_pixel.png") {
    const std::vector<std::uint8_t> bytes = bytes_of(images() / fixture);
    fs::create_directories(folder);
    for (int k = 0; k < count; ++k) {
        std::string name = std::to_string(1000 + k).substr(1) + fs::path(fixture).extension().native();
        write(folder / name, bytes);
    }
}

inline std::vector<std::string> names(const std::vector<Sample>& samples) {
    std::vector<std::string> result;
    for (const Sample& sample : samples) result.emplace_back(sample.name());
    return result;
}

inline std::string failure(const fs::path& path, const DatasetOptions& options = {}) {
    try {
        open_dataset(path, options);
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::data);
        const std::string line = error.what();
        EXPECT_EQ(line.find('\n'), std::string::npos);
        return line;
    }
    return "accepted";
}

// The data set, and every line that was said about it.
struct Opened {
    Dataset dataset;
    std::string warnings{}, lines{};  // of warnings alone, and of all

    bool warned(const std::string& text) const { return warnings.find(text) != std::string::npos; }
    bool said(const std::string& text) const { return lines.find(text) != std::string::npos; }
};

inline Opened open(const fs::path& path, DatasetOptions options = {}) {
    Opened opened;
    options.log = [&](LogLevel level, const std::string& line) {
        opened.lines += line + "\n";
        if (level == LogLevel::warning) opened.warnings += line + "\n";
    };
    opened.dataset = open_dataset(path, options);
    return opened;
}

}  // namespace onecycle::test
