#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/file.h"
#include "core/simulated_file_system.h"
#include "formats/readers.h"
#include "formats/safetensors_writer.h"
#include "onecycle/tensor_file.h"

namespace onecycle {
namespace {

using test::SimulatedFileSystem;
using Metadata = std::map<std::string, std::string>;

const std::vector<float> weights = {1.0f, -2.5f, 3e-9f, 4.0f, 5.0f, 6.0f};
const std::vector<std::int64_t> count = {42};

std::vector<TensorSource> small_model() {
    return {float_tensor("fc.weight", {2, 3}, weights),
            {"bn.num_batches_tracked", StoredType::i64, {}, [] { return std::as_bytes(std::span(count)); }},
            float_tensor("fc.bias", {2}, std::span(weights).first(2)),
            float_tensor("none", {0, 4}, {})};
}

std::vector<std::byte> bytes_of_file(FileSystem& fs, const std::string& path) {
    const InputFile file(fs, path);
    std::vector<std::byte> bytes(file.size());
    file.read_at(bytes, 0);
    return bytes;
}

void put(FileSystem& fs, const std::string& path, std::span<const std::byte> bytes) {
    AtomicFile file(fs, path);
    file.write_at(bytes, 0);
    file.commit();
}

// A file with this header, the length that belongs to it, and so many bytes of tensors.
void put_header(FileSystem& fs, const std::string& json, std::size_t data_bytes) {
    std::string text(8, '\0');
    const std::uint64_t length = json.size();
    std::memcpy(text.data(), &length, sizeof length);
    text += json + std::string(data_bytes, 'x');
    put(fs, "file", std::as_bytes(std::span(text)));
}

TEST(Safetensors, reads_every_type_of_the_reference_library_as_torch_converts_it) {
    const SafetensorsFile file(std::string(ONECYCLE_TEST_DATA) + "/reference.safetensors");
    EXPECT_EQ(file.metadata(), (Metadata{{"format", "pt"}, {"note", "é \" \\ \n"}}));
    EXPECT_EQ(file.digest(), "");
    EXPECT_EQ(file.tensors().size(), 20u);
    for (const char* name : {"f64", "f32", "f16", "bf16", "i64", "i32", "u8", "bool", "scalar", "empty"}) {
        ASSERT_NE(file.find(name), nullptr) << name;
        const std::vector<float> values = file.read_floats(name);
        const std::vector<float> expected = file.read_floats(std::string(name) + ".float");
        ASSERT_EQ(values.size(), expected.size()) << name;
        for (std::size_t i = 0; i < values.size(); ++i) {
            const bool equal = std::memcmp(&values[i], &expected[i], sizeof(float)) == 0;
            EXPECT_TRUE(equal || (std::isnan(values[i]) && std::isnan(expected[i])))
                << name << '[' << i << "]: " << values[i] << " instead of " << expected[i];
        }
    }
    EXPECT_EQ(file.find("f32")->shape, (std::vector<std::int64_t>{4, 3, 2}));
    EXPECT_TRUE(file.find("scalar")->shape.empty());
    EXPECT_EQ(file.find("missing"), nullptr);
    EXPECT_NO_THROW(file.verify());
}

TEST(Safetensors, what_is_written_is_read_bit_for_bit) {
    SimulatedFileSystem fs;
    const Metadata metadata = {{"classes", "[\"a\",\"b\"]"}, {"step", "7"}};
    const std::string digest = write_safetensors("file", small_model(), metadata, fs);
    const SafetensorsFile file("file", fs);
    EXPECT_EQ(file.metadata(), metadata);
    EXPECT_EQ(file.digest(), digest);
    EXPECT_EQ(file.read_floats("fc.weight"), weights);
    EXPECT_EQ(file.read_floats("bn.num_batches_tracked"), std::vector<float>{42});
    EXPECT_EQ(file.tensors().size(), 4u);
    EXPECT_EQ(safetensors_size("file", small_model(), metadata), fs.contents("file").size());
    for (const TensorInfo& tensor : file.tensors()) {
        EXPECT_EQ(tensor.offset % size_of(tensor.type), 0u) << tensor.name << " is not aligned";
    }
}

TEST(Safetensors, equal_contents_give_equal_bytes_in_whatever_order_they_come) {
    SimulatedFileSystem fs;
    std::vector<TensorSource> tensors = small_model();
    write_safetensors("one", tensors, {{"a", "1"}}, fs);
    std::reverse(tensors.begin(), tensors.end());
    write_safetensors("two", tensors, {{"a", "1"}}, fs);
    EXPECT_EQ(bytes_of_file(fs, "one"), bytes_of_file(fs, "two"));
}

TEST(Safetensors, every_flipped_bit_and_every_cut_of_a_file_of_ours_is_refused) {
    SimulatedFileSystem fs;
    write_safetensors("file", small_model(), {{"step", "7"}}, fs);
    const std::vector<std::byte> good = bytes_of_file(fs, "file");
    const auto accepted = [&](std::span<const std::byte> bytes) {
        SimulatedFileSystem damaged;
        put(damaged, "file", bytes);
        try {
            SafetensorsFile("file", damaged).verify();
            return true;
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::model) << error.what();
            EXPECT_NE(std::string(error.what()).find("file"), std::string::npos);
            return false;
        }
    };
    ASSERT_TRUE(accepted(good));
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
        std::vector<std::byte> bytes = good;
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(accepted(bytes)) << "bit " << bit % 8 << " of byte " << bit / 8;
    }
    for (std::size_t size = 0; size < good.size(); ++size) {
        EXPECT_FALSE(accepted(std::span(good).first(size))) << "cut to " << size << " bytes";
    }
    std::vector<std::byte> longer = good;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(accepted(longer));
}

TEST(Safetensors, a_damaged_tensor_is_named_when_it_is_read) {
    SimulatedFileSystem fs;
    write_safetensors("file", small_model(), {}, fs);
    fs.contents("file")[SafetensorsFile("file", fs).find("fc.bias")->offset] ^= std::byte{1};
    const SafetensorsFile file("file", fs);
    EXPECT_NO_THROW(file.read_floats("fc.weight"));
    try {
        file.read_floats("fc.bias");
        FAIL();
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("'fc.bias'"), std::string::npos) << error.what();
    }
}

// Empty tensors cost nothing but their names. Takes no longer than its size: a reader whose time
// grows with the square of it is not done before the test's limit.
TEST(Safetensors, a_hundred_thousand_names_are_read_and_one_more_is_refused) {
    std::string entries;
    for (int i = 0; i < 100'000; ++i)
        entries += "\"" + std::to_string(i) + R"(":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)";
    SimulatedFileSystem fs;
    put_header(fs, "{" + entries.substr(0, entries.size() - 1) + "}", 0);
    EXPECT_EQ(SafetensorsFile("file", fs).tensors().size(), 100'000u);
    put_header(fs, "{" + entries + R"("x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", 0);
    try {
        SafetensorsFile("file", fs);
        FAIL();
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("too many tensors"), std::string::npos) << error.what();
    }
}

// Each would become a node of a tree, of a hundred bytes, or sixteen bytes of a list that doubles
// as it grows.
TEST(Safetensors, names_and_values_are_counted_before_they_are_kept) {
    const auto refusal = [](const std::string& header) -> std::string {
        SimulatedFileSystem fs;
        put_header(fs, header, 0);
        try {
            SafetensorsFile("file", fs);
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    };
    std::string entries;
    for (int i = 0; i < 500'000; ++i) entries += "\"" + std::to_string(i) + R"(":"",)";
    entries.pop_back();
    EXPECT_NE(refusal(R"({"__metadata__":{)" + entries + "}}").find("too many names"), std::string::npos);
    std::string list;
    for (int i = 0; i < 1'600'000; ++i) list += "1,";
    list.pop_back();
    EXPECT_NE(refusal(R"({"a":{"dtype":"F32","data_offsets":[0,0],"shape":[)" + list + "]}}")
                  .find("too many values"),
              std::string::npos);
}

TEST(Safetensors, malformed_headers_are_refused_with_the_reason) {
    const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
    const std::string deep = std::string(100'000, '[');
    struct Case {
        std::string header;
        std::size_t data_bytes;
        const char* why;
    };
    const Case cases[] = {
        {good, 7, "cut short"},
        {good, 9, "after the last tensor"},
        {"", 0, "not valid JSON"},
        {"{", 0, "not valid JSON"},
        {good + "}", 8, "not valid JSON"},
        {"{\"\xff\":1}", 0, "not valid JSON"},
        {"[]", 0, "no JSON object"},
        {deep, 0, "nested too deeply"},
        {R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})",
         0, "'a' twice"},
        {R"({"__metadata__":{"x":"1","x":"2"}})", 0, "'x' twice"},
        {R"({"__metadata__":{"x":1}})", 0, "'x' is no text"},
        {R"({"__metadata__":"x"})", 0, "no list of texts"},
        {R"({"a":7})", 0, "does not have just"},
        {R"({"a":{"dtype":"F32","shape":[2]}})", 8, "does not have just"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})", 8, "does not have just"},
        {R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}})", 8, "unknown type 'F8_E4M3'"},
        {R"({"a":{"dtype":3,"shape":[2],"data_offsets":[0,8]}})", 8, "no type"},
        {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8, "no list of at most 8"},
        {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}})", 8,
         "no list of at most 8"},
        {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8, "no whole number"},
        {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8, "no whole number"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e1]}})", 8, "no whole number"},
        {R"({"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}})", 8,
         "no whole number"},
        {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "too large"},
        {R"({"a":{"dtype":"F32","shape":[281474976710656,65536],"data_offsets":[0,0]}})", 0, "too large"},
        {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8, "does not have the size"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "does not have the size"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8, "no pair of offsets"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12, "does not start where"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
         12, "does not start where"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
         8, "does not start where"},
    };
    for (const Case& bad : cases) {
        SimulatedFileSystem fs;
        put_header(fs, bad.header, bad.data_bytes);
        try {
            SafetensorsFile("file", fs).verify();
            ADD_FAILURE() << "accepted: " << bad.header.substr(0, 100);
        } catch (const Error& error) {
            EXPECT_EQ(error.kind(), ErrorKind::model);
            EXPECT_NE(std::string(error.what()).find(bad.why), std::string::npos) << error.what();
        }
    }
    SimulatedFileSystem fs;
    put_header(fs, good + "  ", 8);
    EXPECT_NO_THROW(SafetensorsFile("file", fs).verify());
}

TEST(Safetensors, a_giant_header_length_is_refused_before_memory_is_taken) {
    for (const std::uint64_t length : {std::uint64_t{17} << 20, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
        SimulatedFileSystem fs;
        put(fs, "file", std::as_bytes(std::span(&length, 1)));
        EXPECT_THROW(SafetensorsFile("file", fs), Error);
    }
}

TEST(Safetensors, a_disk_fault_while_reading_is_an_io_error_and_short_reads_are_none) {
    SimulatedFileSystem fs;
    write_safetensors("file", small_model(), {}, fs);
    fs.calls = 0;
    SafetensorsFile("file", fs).verify();
    const std::int64_t total = fs.calls;
    for (std::int64_t call = 1; call < total; ++call) {  // the last call closes
        for (const int code : {EIO, EINTR, 0}) {
            fs.calls = 0;
            fs.fault = {call, code, false};
            try {
                SafetensorsFile("file", fs).verify();
                EXPECT_NE(code, EIO) << "call " << call;
            } catch (const Error& error) {
                EXPECT_EQ(code, EIO) << "call " << call << ": " << error.what();
                EXPECT_EQ(error.kind(), ErrorKind::io);
            }
        }
    }
}

TEST(Safetensors, sources_that_make_no_file_are_refused_and_leave_nothing) {
    const auto refused = [](std::vector<TensorSource> tensors, const Metadata& metadata) {
        SimulatedFileSystem fs;
        EXPECT_THROW(write_safetensors("file", tensors, metadata, fs), Error);
        EXPECT_EQ(fs.paths(), std::vector<std::string>{"."});
    };
    std::vector<TensorSource> twice = small_model();
    twice.push_back(twice.front());
    refused(twice, {});
    refused({float_tensor("a", {7}, weights)}, {});
    refused({float_tensor("\xff", {6}, weights)}, {});
    refused({float_tensor("__metadata__", {6}, weights)}, {});
    refused(small_model(), {{"classes", "\xff"}});
}

}  // namespace
}  // namespace onecycle
