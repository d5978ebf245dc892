// Checks every rung of every ladder against an independent truth, then times it:
//
//     bench_ladder                                  # on the GPU
//     bench_ladder --device emulated                # only checks; counts accesses where the build sees them
//     bench_ladder --device emulated convolution    # one ladder: statistics, gradients or convolution
//
// Ends with 1 if a rung is wrong, with 7 if there is no GPU.
#include <fmt/format.h>

#include <string_view>
#include <utility>
#include <vector>

#include "bench/ladder/climb.h"
#include "onecycle/error.h"

int main(int argc, char** argv) try {
    using namespace onecycle;
    using namespace onecycle::ladder;
    using Climb = std::pair<std::string_view, void (*)(Device&)>;
    const Climb all[] = {
        {"statistics", climb_statistics}, {"gradients", climb_gradients}, {"convolution", climb_convolution}};
    std::vector<Climb> chosen;
    std::string_view where = "cuda";
    const std::vector<std::string_view> words(argv + 1, argv + argc);
    for (std::size_t i = 0; i < words.size(); ++i) {
        bool known = words[i] == "--device" && i + 1 < words.size();
        if (known) where = words[++i];
        for (const Climb& climb : all)
            if (words[i] == climb.first) {
                chosen.push_back(climb);
                known = true;
            }
        if (!known || (where != "cuda" && where != "emulated"))
            throw Error(ErrorKind::usage, "bad option", "bench_ladder",
                        "it does not know " + std::string(words[i]),
                        "use --device cuda or --device emulated, and statistics, gradients or convolution");
    }
    const bool gpu = where == "cuda";
    const auto device = gpu ? make_cuda_device(0) : make_emulated_device();
    fmt::print("The ladders, on {}.\n", device->name());
    for (const auto& [name, climb] :
         chosen.empty() ? std::vector<Climb>(std::begin(all), std::end(all)) : chosen)
        climb(*device);
    fmt::print("\nAll rungs are right, and give the same bits in a second run.{}\n",
               gpu ? "" : " On the emulator times mean nothing: none are given.");
    return 0;
} catch (const onecycle::Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return error.exit_code();
} catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
}
