// Writes the training images of a folder as a resident set of a given margin keeps them, as BMP
// files, so that trainings from them can be compared with trainings from the files themselves:
//
//     bench_resident_margin DATA OUT SIZE MARGIN        (DATA/val is linked, not changed)
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "data/resident_images.h"
#include "onecycle/error.h"

namespace fs = std::filesystem;
using namespace onecycle;

namespace {

// 24 bits, rows from bottom to top, each padded to four bytes.
void write_bmp(const fs::path& path, const Image& image) {
    const std::size_t row = (static_cast<std::size_t>(image.width) * 3 + 3) / 4 * 4;
    std::vector<unsigned char> file(54 + row * static_cast<std::size_t>(image.height));
    const auto put = [&](std::size_t at, std::uint32_t value, int bytes) {
        for (int k = 0; k < bytes; ++k) file[at + static_cast<std::size_t>(k)] = value >> 8 * k & 255;
    };
    put(0, 'B' | 'M' << 8, 2);
    put(2, static_cast<std::uint32_t>(file.size()), 4);
    put(10, 54, 4);
    put(14, 40, 4);
    put(18, static_cast<std::uint32_t>(image.width), 4);
    put(22, static_cast<std::uint32_t>(image.height), 4);
    put(26, 1, 2);
    put(28, 24, 2);
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x)
            for (std::size_t c = 0; c < 3; ++c)
                file[54 + row * static_cast<std::size_t>(image.height - 1 - y) +
                     3 * static_cast<std::size_t>(x) + c] =
                    image.rgb[3 * (static_cast<std::size_t>(y) * image.width + x) + 2 - c];
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 5) {
        std::fprintf(stderr, "usage: bench_resident_margin DATA OUT SIZE MARGIN\n");
        return 2;
    }
    const fs::path data = fs::canonical(argv[1]), out = argv[2];
    const Dataset dataset = open_dataset(data.string(), {.threads = 2});
    const KeptRule rule{.size = std::atoi(argv[3]), .margin = std::atof(argv[4])};
    const ResidentPlan plan = plan_resident_images(dataset.train, rule);
    KeptImages kept(rule, 0);
    make_resident_images(dataset.train, plan, kept, 2, [&](std::size_t k, const Image& image) {
        write_bmp((out / "train" / dataset.train[k].name()).replace_extension(".bmp"), image);
    });
    fs::create_directory_symlink(data / "val", out / "val");
    std::printf("%zu images, %.1f MB, %zu made smaller\n", dataset.train.size(),
                static_cast<double>(plan.bytes) / 1e6, plan.shrunk);
    return 0;
} catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code();
}
