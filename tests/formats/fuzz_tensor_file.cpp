// libFuzzer target: a file of any bytes is read, or refused by an Error. See scripts/fuzz.
#include <exception>

#include "core/simulated_file_system.h"
#include "formats/known.h"
#include "onecycle/error.h"
#include "onecycle/tensor_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace onecycle;
    test::SimulatedFileSystem fs;
    fs.close(fs.create_exclusive("file"));
    const auto bytes = std::as_bytes(std::span(data, size));
    fs.contents("file").assign(bytes.begin(), bytes.end());
    try {
        const auto file = test::open_known("file", fs);
        file->verify();
        for (const TensorInfo& tensor : file->tensors())
            if (file->read_floats(tensor.name).size() != tensor.bytes / size_of(tensor.type))
                std::terminate();
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::model) std::terminate();
    }
    return 0;
}
