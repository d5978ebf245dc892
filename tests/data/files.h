// Fixture images, and folders that vanish with the test.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "onecycle/image.h"
#include "temporary_folder.h"

namespace onecycle::test {

namespace fs = std::filesystem;

inline fs::path images() {
    return fs::path(ONECYCLE_TEST_DATA) / "images";
}

inline std::vector<std::uint8_t> bytes_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(file) << path;
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void write(const fs::path& path, const std::vector<std::uint8_t>& bytes) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

inline void write(const fs::path& path, const std::string& text) {
    write(path, std::vector<std::uint8_t>(text.begin(), text.end()));
}

// The pixels that Pillow found: a binary PPM.
inline Image expected(const std::string& name) {
    std::ifstream file(images() / (name + ".ppm"), std::ios::binary);
    std::string magic;
    int most = 0;
    Image image;
    file >> magic >> image.width >> image.height >> most;
    file.get();
    EXPECT_EQ(magic, "P6") << name;
    image.rgb.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    return image;
}

}  // namespace onecycle::test
