#include "onecycle/demo_data.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "data/demo_folder.h"
#include "onecycle/error.h"
#include "onecycle/image.h"
#include "rules/rng.h"

#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wshadow"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace onecycle {

namespace {

double fraction(double x) {
    return x - std::floor(x);
}

// A pattern says of each point of the plane whether it has the first colour or the second. Each
// covers half of the plane with either, so that no statistic of single pixels tells the patterns
// apart; its period is 1.
struct Pattern {
    const char* name;
    bool (*inside)(double u, double v);
};

constexpr double half_disc = 0.3989;  // radius of a disc that covers half of a unit cell

bool disc(double u, double v, double radius) {
    return std::hypot(fraction(u) - 0.5, fraction(v) - 0.5) < radius;
}

constexpr std::array<Pattern, 8> patterns = {{
    {"checkers", [](double u, double v) { return (fraction(u) < 0.5) != (fraction(v) < 0.5); }},
    {"rings", [](double u, double v) { return fraction(std::hypot(u, v)) < 0.5; }},
    {"spots", [](double u, double v) { return disc(u, v, half_disc); }},
    {"stripes", [](double u, double) { return fraction(u) < 0.5; }},
    {"zigzags", [](double u, double v) { return fraction(u + std::abs(fraction(v / 2) - 0.5) * 2) < 0.5; }},
    {"bricks",
     [](double u, double v) {
         const double row = std::floor(v * 1.2);
         return fraction(v * 1.2) > 0.293 && fraction(u * 0.6 + (std::fmod(row, 2) == 0 ? 0.0 : 0.5)) > 0.293;
     }},
    {"crosses",
     [](double u, double v) {
         const double x = std::abs(fraction(u) - 0.5), y = std::abs(fraction(v) - 0.5);
         return std::min(x, y) < 0.155 && std::max(x, y) < 0.4815;
     }},
    {"triangles", [](double u, double v) { return fraction(u) + fraction(v) < 1; }},
}};

using Colour = std::array<double, 3>;

Colour random_colour(RandomStream& random) {
    Colour colour;
    for (double& channel : colour) channel = random.uniform(20, 235);
    return colour;
}

double brightness(const Colour& c) {
    return 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2];
}

Image draw(const Pattern& pattern, int size, RandomStream& random) {
    Image image;
    image.width = size + static_cast<int>(random.below(static_cast<std::uint32_t>(size / 3 + 1)));
    image.height = size + static_cast<int>(random.below(static_cast<std::uint32_t>(size / 3 + 1)));
    image.rgb.resize(static_cast<std::size_t>(image.width) * image.height * 3);

    // Turned by 20 degrees at most: all directions take more images than a demo has.
    const double angle = random.uniform(-0.35, 0.35);
    const double period = size * random.uniform(0.2, 0.3);
    const double along_u = std::cos(angle) / period, along_v = std::sin(angle) / period;
    const double middle_x = image.width * random.uniform(), middle_y = image.height * random.uniform();
    // The lattice patterns get a phase; the rings have their centre in the picture.
    // The first colour is the brighter one, clearly: so small a set could not teach that light on
    // dark is dark on light.
    Colour first = random_colour(random), second = random_colour(random);
    while (brightness(first) - brightness(second) < 80) {
        first = random_colour(random);
        second = random_colour(random);
    }
    // Light falls off to one side, and every pixel has its noise.
    const double light_angle = random.uniform(0, 2 * std::numbers::pi), light = random.uniform(0, 0.25);
    const double noise = random.uniform(3, 12);

    std::uint8_t* out = image.rgb.data();
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x, out += 3) {
            double share = 0;  // of the first colour: four points a pixel
            for (const double dy : {0.25, 0.75})
                for (const double dx : {0.25, 0.75}) {
                    const double px = x + dx - middle_x, py = y + dy - middle_y;
                    share +=
                        pattern.inside(px * along_u + py * along_v, py * along_u - px * along_v) ? 0.25 : 0;
                }
            const double shade = 1 + light * (std::cos(light_angle) * (2.0 * x / image.width - 1) +
                                              std::sin(light_angle) * (2.0 * y / image.height - 1));
            for (std::size_t c = 0; c < 3; ++c) {
                const double value =
                    (share * first[c] + (1 - share) * second[c]) * shade + noise * normal(random);
                out[c] = static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0) + 0.5);
            }
        }
    return image;
}

void append(void* context, void* data, int size) {
    const auto* bytes = static_cast<const char*>(data);
    static_cast<std::string*>(context)->append(bytes, bytes + size);
}

std::string encoded(const Image& image, bool png, int quality) {
    std::string bytes;
    if (png)
        stbi_write_png_to_func(append, &bytes, image.width, image.height, 3, image.rgb.data(),
                               image.width * 3);
    else
        stbi_write_jpg_to_func(append, &bytes, image.width, image.height, 3, image.rgb.data(), quality);
    return bytes;
}

}  // namespace

int demo_class_limit() {
    return static_cast<int>(patterns.size());
}

std::int64_t make_demo_data(const std::string& dir, const DemoOptions& options) {
    return make_demo_data(dir, options, posix_file_system());
}

std::int64_t make_demo_data(const std::string& dir, const DemoOptions& options, FileSystem& fs) {
    const auto check = [](bool good, const char* option, const std::string& why) {
        if (!good) throw Error(ErrorKind::usage, "value out of range", option, why, "give another number");
    };
    check(options.classes >= 2 && options.classes <= demo_class_limit(), "--classes",
          "it must lie between 2 and " + std::to_string(demo_class_limit()));
    check(options.images_per_class >= 2 && options.images_per_class <= 9999, "--images",
          "it must lie between 2 and 9999");
    check(options.size >= 16 && options.size <= 1024, "--size", "it must lie between 16 and 1024");
    std::string form;
    for (const std::uint64_t number :
         {static_cast<std::uint64_t>(options.classes), static_cast<std::uint64_t>(options.images_per_class),
          static_cast<std::uint64_t>(options.size), options.seed})
        form += (form.empty() ? "" : "-") + std::to_string(number);
    std::vector<std::string> names;
    for (int c = 0; c < options.classes; ++c) names.push_back(patterns[static_cast<std::size_t>(c)].name);
    DemoFolder folder(fs, dir, form, names);

    for (int c = 0; c < options.classes; ++c) {
        const Pattern& pattern = patterns[static_cast<std::size_t>(c)];
        if (folder.has(pattern.name)) continue;
        for (int k = 0; k < options.images_per_class; ++k) {
            if (const int signal = options.stop ? options.stop() : 0) throw Interrupted(signal);
            RandomStream random(options.seed, RandomPurpose::demo_data, static_cast<std::uint32_t>(c),
                                static_cast<std::uint64_t>(k));
            const bool png = k % 3 == 2;
            const int quality = 80 + static_cast<int>(random.below(16));
            folder.write(pattern.name, k, png, encoded(draw(pattern, options.size, random), png, quality));
        }
    }
    folder.commit();
    return std::int64_t{options.classes} * options.images_per_class;
}

}  // namespace onecycle
