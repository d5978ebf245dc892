// What torch.save wrote is read as torch reads it; what is damaged or forged is refused in one
// line.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "core/file.h"
#include "core/simulated_file_system.h"
#include "formats/known.h"
#include "formats/readers.h"
#include "formats/torch_builder.h"
#include "formats/weights_place.h"
#include "onecycle/error.h"
#include "onecycle/tensor_file.h"

namespace onecycle {
namespace {

using namespace test;

std::string data(const std::string& name) {
    return std::string(ONECYCLE_TEST_DATA) + "/torch/" + name;
}

std::string bytes_of(const std::string& path) {
    return read_file(posix_file_system(), path);
}

void write(FileSystem& fs, const std::string& path, const std::string& bytes) {
    AtomicFile file(fs, path);
    file.write_at(std::as_bytes(std::span(bytes)), 0);
    file.commit();
}

// The line with which the file is refused; empty when it is not.
std::string refusal(const std::string& bytes, const std::string& path = "file.pth") {
    SimulatedFileSystem fs;
    write(fs, path, bytes);
    try {
        const auto file = open_known(path, fs);
        file->verify();
        for (const TensorInfo& tensor : file->tensors()) file->read_floats(tensor.name);
        return "";
    } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::model) << error.what();
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
        return error.what();
    }
}

void expect_same_values(const TensorFile& file, const std::string& a, const std::string& b) {
    const std::vector<float> values = file.read_floats(a), expected = file.read_floats(b);
    ASSERT_EQ(values.size(), expected.size()) << a;
    if (values.empty()) return;
    EXPECT_EQ(std::memcmp(values.data(), expected.data(), values.size() * sizeof(float)), 0) << a;
}

TEST(TorchFile, reads_every_kind_of_tensor_as_torch_converts_it) {
    for (const char* name : {"types.pth", "types-no-crc.pth"}) {
        const auto file = open_known(data(name));
        file->verify();
        EXPECT_EQ(file->tensors().size(), 26u);
        for (const char* tensor : {"f64", "f32", "f16", "bf16", "i64", "scalar", "empty", "parameter",
                                   "frozen", "shared", "permuted", "part", "channels_last"}) {
            ASSERT_NE(file->find(tensor), nullptr) << tensor;
            expect_same_values(*file, tensor, std::string(tensor) + ".float");
        }
        EXPECT_EQ(file->find("permuted")->shape, (std::vector<std::int64_t>{4, 2, 3}));
        EXPECT_EQ(file->find("scalar")->shape, std::vector<std::int64_t>{});
        EXPECT_EQ(file->find("scalar")->type, StoredType::i64);
        EXPECT_EQ(file->find("bf16")->type, StoredType::bf16);
    }
}

TEST(TorchFile, finds_the_state_dict_where_training_scripts_put_it) {
    const auto plain = open_known(data("network.pth"));
    ASSERT_EQ(plain->tensors().size(), 7u);
    for (const char* name : {"in-model.pth", "in-state-dict.pth", "module.pth", "legacy.pth"}) {
        const auto wrapped = open_known(data(name));
        ASSERT_EQ(wrapped->tensors().size(), plain->tensors().size()) << name;
        for (const TensorInfo& tensor : plain->tensors()) {
            ASSERT_NE(wrapped->find(tensor.name), nullptr) << name << ' ' << tensor.name;
            EXPECT_EQ(wrapped->read_floats(tensor.name), plain->read_floats(tensor.name)) << tensor.name;
        }
    }
}

// The weights proper have a first element below 100, their averages one from 100 on.
float first_weight(const TensorFile& file) {
    return file.read_floats("conv1.weight").front();
}

std::vector<std::string> checkpoints(const char* beginning = "") {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(data("checkpoints")))
        if (const std::string name = entry.path().filename(); name.starts_with(beginning))
            names.push_back(name);
    std::sort(names.begin(), names.end());
    return names;
}

TEST(Checkpoints, whatever_a_training_script_saved_reads_as_the_plain_state_dict) {
    const auto plain = open_known(data("checkpoints/plain.pth"));
    ASSERT_EQ(plain->names().size(), 9u);
    int read = 0;
    for (const std::string& name : checkpoints()) {
        if (name.starts_with("refused")) continue;
        SCOPED_TRACE(name);
        const auto file = open_known(data("checkpoints/" + name));
        file->verify();
        EXPECT_EQ(file->weights().problem, "");
        for (const auto& [tensor, index] : plain->names()) {
            if (name.starts_with("backbone") && tensor.starts_with("fc.")) continue;
            if (name == "repeated.pth" && tensor == "bn1.weight") continue;
            ASSERT_NE(file->find(tensor), nullptr) << tensor;
            EXPECT_EQ(file->find(tensor)->shape, plain->find(tensor)->shape) << tensor;
            EXPECT_EQ(file->read_floats(tensor), plain->read_floats(tensor)) << tensor;
        }
        ++read;
    }
    EXPECT_GE(read, 36);
    const auto repeated = open_known(data("checkpoints/repeated.pth"));
    EXPECT_EQ(repeated->read_floats("bn1.weight"), (std::vector<float>{1, 1}));
}

TEST(Checkpoints, an_ema_is_taken_only_when_it_is_asked_for) {
    for (const char* name : {"timm.pth.tar", "torchvision.pth", "dino.pth", "moco.pth.tar", "modules.pt",
                             "average_first.pth", "average.safetensors"}) {
        SCOPED_TRACE(name);
        const std::string path = data(std::string("checkpoints/") + name);
        const auto proper = open_known(path), ema = open_known(path, posix_file_system(), true);
        EXPECT_LT(first_weight(*proper), 100);
        EXPECT_GE(first_weight(*ema), 100);
        EXPECT_EQ(proper->weights().others.size(), 1u);
        EXPECT_FALSE(proper->weights().ema);
        EXPECT_TRUE(ema->weights().ema);
        EXPECT_EQ(ema->weights().problem, "");
    }
    const auto none = open_known(data("checkpoints/net.pth"), posix_file_system(), true);
    EXPECT_NE(none->weights().problem.find("no moving average"), std::string::npos);
    EXPECT_NE(none->weights().fix.find("leave --init-ema out"), std::string::npos);
}

TEST(Checkpoints, two_that_fit_alike_are_named_with_a_way_to_keep_one) {
    for (const auto& [name, parts] : std::map<std::string, std::vector<std::string>>{
             {"refused-two.pth", {"'netA', 'netB'", "['netA']"}},
             {"refused-two.safetensors", {"'a.', 'b.'", "k.startswith('a.')"}}}) {
        const WeightsPlace place = open_known(data("checkpoints/" + name))->weights();
        EXPECT_NE(place.problem.find(parts[0]), std::string::npos) << place.problem;
        EXPECT_NE(place.fix.find(parts[1]), std::string::npos) << place.fix;
    }
}

TEST(Checkpoints, what_is_no_file_of_tensors_is_refused_with_a_way_that_fits_it) {
    const std::string numpy = refusal(bytes_of(data("checkpoints/refused-numpy.pth")), "a b's.pth");
    EXPECT_NE(numpy.find("numpy"), std::string::npos) << numpy;
    EXPECT_NE(numpy.find("torch.load"), std::string::npos) << numpy;
    EXPECT_NE(numpy.find("'a b'\\''s.pth' model.safetensors"), std::string::npos) << numpy;
    for (const char* name : {"refused-pickle.pth", "refused-pickle-tensors.pth"}) {
        const std::string pickle = refusal(bytes_of(data(std::string("checkpoints/") + name)));
        EXPECT_NE(pickle.find("m = pickle.load"), std::string::npos) << pickle;
    }
    for (const char* name : {"refused-nothing.pth", "refused-pickle-nothing.pth"}) {
        const std::string nothing = refusal(bytes_of(data(std::string("checkpoints/") + name)));
        EXPECT_NE(nothing.find("no dictionary of tensors"), std::string::npos) << nothing;
        EXPECT_EQ(nothing.find("python"), std::string::npos) << "nothing could be converted: " << nothing;
    }
    std::string tar(512, '\0');
    tar.replace(257, 5, "ustar");
    EXPECT_NE(refusal(tar).find("tar file"), std::string::npos);
}

// Two networks whose convolutions stand at other places of one Sequential: where one has its
// second, the other has a norm.
TEST(TorchFile, a_set_that_fits_two_networks_is_one_set) {
    const std::vector<NetworkMarks> marks = {
        {"features.0.weight", "features.4.weight", "features.1.running_mean", "classifier.6.weight", {}},
        {"features.0.weight", "features.3.weight", "features.1.running_mean", "classifier.6.weight", {}}};
    const ChosenWeights chosen = choose_weights({{{"model"},
                                                  {"net.features.0.weight", "net.features.1.running_mean",
                                                   "net.features.3.weight", "net.features.4.weight"}}},
                                                false, marks);
    EXPECT_TRUE(chosen.fits);
    EXPECT_EQ(chosen.prefix, "net.");
    EXPECT_EQ(chosen.place.problem, "");
    EXPECT_TRUE(chosen.place.others.empty());
}

// No other name promises anything, whatever numbers it has.
TEST(TorchFile, a_name_is_a_promise_only_where_torchvision_publishes_it) {
    const std::string bytes = bytes_of(data("network.pth"));
    for (const char* name : {"resnet18-5c106cde.pth", "resnet34-b627a593.pth", "resnet50-11ad3fa6.pth"}) {
        const std::string refused = refusal(bytes, name);
        EXPECT_NE(refused.find("SHA-256 begins with 0eb36a26, not with"), std::string::npos) << refused;
    }
    for (const char* name :
         {"resnet18-00000100.pth", "resnet18-20251125.pth", "resnet18-deadbeef.pth",
          "best_resnet18-f37072fd.pth", "resnet18-f37072fd.bak.pth", "flowers-20251125.pth"})
        EXPECT_EQ(refusal(bytes, name), "");
}

TEST(TorchFile, refuses_every_cut_of_a_file) {
    for (const char* name :
         {"types.pth", "in-state-dict.pth", "checkpoints/legacy-2.pth", "checkpoints/extras-4.pth"}) {
        const std::string bytes = bytes_of(data(name));
        for (std::size_t i = 0; i < 200; ++i)
            EXPECT_NE(refusal(bytes.substr(0, bytes.size() * i / 200)), "") << name << ' ' << i;
    }
}

// A flipped bit is found, or lies where nothing is kept: padding, times, versions, names of notes.
TEST(TorchFile, a_flipped_bit_changes_no_value) {
    const std::string bytes = bytes_of(data("network.pth"));
    const auto plain = open_known(data("network.pth"));
    int refused = 0;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
        SimulatedFileSystem fs;
        write(fs, "file.pth", damaged);
        try {
            const auto file = open_known("file.pth", fs);
            file->verify();
            for (const TensorInfo& tensor : plain->tensors())
                EXPECT_EQ(file->read_floats(tensor.name), plain->read_floats(tensor.name)) << at;
        } catch (const Error& error) {
            ++refused;
        }
    }
    EXPECT_GT(refused, static_cast<int>(bytes.size() / 2));
}

TEST(TorchFile, reads_a_file_made_of_the_smallest_parts) {
    EXPECT_EQ(refusal(archive(good_pickle).bytes()), "");
}

TEST(TorchFile, what_few_writers_use_is_read_alike) {
    const auto sized = [](const char* instruction, std::uint64_t size, int bytes) {
        std::string p = instruction;
        put(p, size, bytes);
        return p;
    };
    const std::string name = sized("\x8d", 1, 8) + "w", six = sized("\x8b", 1, 4) + '\6';
    const std::string of_long =
        global("torch._utils", "_rebuild_tensor_v2") +
        tuple({tuple({text("storage"), global("torch", "FloatStorage"), text("0"), text("cpu"), six}) + 'Q',
               number(0), numbers({2, 3}), numbers({3, 1}), "\x89", ordered_dict}) +
        'R';
    const std::string parameters =
        dictionary({{"_parameters", dictionary({{"w", good_tensor}})}, {"_modules", "}"}});
    const std::pair<const char*, std::string> values[] = {
        {"a name of 64 bits of length", "}(" + name + good_tensor + 'u'},
        {"a whole number of 32 bits of length", dictionary({{"w", of_long}})},
        {"what is dropped up to a mark",
         '(' + text("gone") + number(7) + '1' + dictionary({{"w", good_tensor}})},
        {"what is there twice, and dropped once", dictionary({{"w", good_tensor + "20"}})},
        {"the pairs of a dictionary of Python 2",
         global("collections", "OrderedDict") + tuple({"](" + tuple({text("w"), good_tensor}) + 'e'}) + 'R'},
        {"an object of a class of Python 2", global("copy_reg", "_reconstructor") +
                                                 tuple({global("net", "Net"), text("base"), "N"}) + 'R' +
                                                 parameters + 'b'},
        {"what a call returns is called",
         dictionary({{"w", good_tensor}, {"other", global("a", "b") + ")R)R"}})}};
    for (const auto& [what, value] : values) {
        SCOPED_TRACE(what);
        SimulatedFileSystem fs;
        write(fs, "file.pth", archive(whole(value)).bytes());
        std::vector<std::string> names;
        try {
            const auto file = open_known("file.pth", fs);
            for (const TensorInfo& tensor : file->tensors()) names.push_back(tensor.name);
        } catch (const Error& error) {
            ADD_FAILURE() << error.what();
        }
        EXPECT_EQ(names, std::vector<std::string>{"w"});
    }
}

struct Hostile {
    const char* what;
    std::string bytes;
    const char* why;  // part of the line
};

void PrintTo(const Hostile& hostile, std::ostream* out) {
    *out << hostile.what;
}

std::string pickled(const std::string& value) {
    return archive(whole(value)).bytes();
}
std::string tensor(const std::string& value) {
    return pickled(dictionary({{"w", value}}));
}

template <class Change>
std::string changed(Change change) {
    Zip zip = archive(good_pickle);
    change(zip);
    return zip.bytes();
}
template <class Change>
std::string changed_record(std::size_t record, Change change) {
    return changed([&](Zip& zip) { change(zip.records[record]); });
}

std::string repeated(const std::string& part, std::size_t times) {
    std::string text;
    for (std::size_t i = 0; i < times; ++i) text += part;
    return text;
}

// Each entry a pair of the one before: a tree of 2^40 leaves.
std::string memo_bomb() {
    std::string p = "](" + text("x") + std::string("q\0", 2);
    for (char i = 0; i < 40; ++i) {
        const std::string get = {'h', i};
        p += get + get + "\x86q" + static_cast<char>(i + 1);
    }
    return p + 'e';
}

// What leaves the stack empty but for the value 100, each value being `make` of the one before it.
template <class Make>
std::string doubled(const Make& make) {
    std::string p = std::string("}q\0", 3) + '0';
    for (char i = 0; i < 100; ++i) p += make(std::string{'h', i}) + 'q' + static_cast<char>(i + 1) + '0';
    return p + "hd";
}

std::string bushy() {
    return doubled([](const std::string& one) { return dictionary({{"a", one}, {"b", one}}); });
}

std::string modules_within_modules() {
    return doubled([](const std::string& one) {
        return global("net", "Net") + ")\x81" +
               dictionary({{"_parameters", "}"}, {"_modules", dictionary({{"a", one}, {"b", one}})}}) + 'b';
    });
}

const std::string floats = storage("FloatStorage", "0", 6);

std::vector<Hostile> hostile_pickles() {
    const auto call = [](const std::string& module, const std::string& name) {
        return pickled(global(module, name) + tuple({text("echo")}) + 'R');
    };
    return {
        {"os.system", call("os", "system"), "'os.system'"},
        {"posix.system", call("posix", "system"), "'posix.system'"},
        {"builtins.eval", call("builtins", "eval"), "'builtins.eval'"},
        {"__builtin__.exec", call("__builtin__", "exec"), "'__builtin__.exec'"},
        {"subprocess.Popen", call("subprocess", "Popen"), "'subprocess.Popen'"},
        {"builtins.getattr", call("builtins", "getattr"), "no dictionary"},
        {"torch.load", call("torch", "load"), "no dictionary"},
        {"numpy reconstruct", call("numpy.core.multiarray", "_reconstruct"), "no dictionary"},
        {"torch.hub", call("torch.hub", "load_state_dict_from_url"), "no dictionary"},
        {"global with a dotted name", call("torch", "nn.Linear"), "no dictionary"},
        {"VoidStorage", tensor(view(storage("VoidStorage", "0", 6), 0, {6}, {1})), "no type"},
        {"STACK_GLOBAL", pickled(text("os") + text("system") + "\x93)R"), "'os.system'"},
        {"INST", pickled("(ios\nsystem\n"), "0x69"},
        {"OBJ of a dictionary", pickled("(" + ordered_dict + "o"), "no class"},
        {"NEWOBJ of a text", pickled(text("a") + ")\x81"), "no class"},
        {"EXT1", pickled("\x82\x01"), "0x82"},
        {"PERSID of protocol 0", pickled("Pfile\n"), "0x50"},
        {"NEXT_BUFFER of protocol 5", pickled("\x97"), "0x97"},
        {"UNICODE of protocol 0", pickled("Vx\n"), "0x56"},
        {"protocol 6", archive("\x80\x06}.").bytes(), "protocol above 5"},
        {"REDUCE of a text", pickled(text("f") + ")R"), "no function"},
        {"REDUCE of a storage type", pickled(global("torch", "FloatStorage") + ")R"), "no dictionary"},
        {"REDUCE with a list", pickled(global("collections", "OrderedDict") + "]R"), "no function"},
        {"an OrderedDict of nothing", pickled(global("collections", "OrderedDict") + tuple({"]"}) + 'R'),
         "no dictionary"},
        {"BUILD of a dictionary", pickled("}" + dictionary({{"_metadata", "}"}}) + 'b'), "no dictionary"},
        {"BUILD with another attribute", pickled(ordered_dict + dictionary({{"__class__", "}"}}) + 'b'),
         "no dictionary"},
        {"SETITEM on a tuple", pickled(")" + text("a") + "Ns"), "no dictionary"},
        {"SETITEMS with an odd number", pickled("}(" + text("a") + "u"), "no dictionary"},
        {"APPEND to a dictionary", pickled("}Na"), "no list"},
        {"a name twice", pickled(dictionary({{"w", good_tensor}, {"w", good_tensor}})), "twice"},
        {"a mark that is never used", pickled("(" + dictionary({{"w", good_tensor}})), "malformed"},
        {"a pop beyond the mark", pickled("}(" + text("a") + "Ns"), ""},
        {"an empty stack", pickled("R"), "more than there is"},
        {"TUPLE without a mark", pickled("t"), "more than there is"},
        {"a memo that was never stored", pickled("h\x07"), "recalls"},
        {"bytes behind the end", archive(good_pickle + "x").bytes(), "behind its end"},
        {"no end", archive(good_pickle.substr(0, good_pickle.size() - 1)).bytes(), "cut short"},
        {"no pickle", archive("").bytes(), "cut short"},
        {"a text that claims 4 GB",
         pickled("X\xff\xff\xff\xff"
                 "a"),
         "cut short"},
        {"a text that claims 60 kB", pickled(std::string("X\x60\xea\0\0", 5) + "a"), "cut short"},
        {"a number of 255 bytes", pickled("\x8a\xff" + std::string(255, 'x')), "no dictionary"},
        {"a name without end", pickled("c" + std::string(2000, 'x')), "without end"},
        {"a million marks", pickled(repeated("N", 200'000)), "too large"},
        {"five million instructions", pickled(repeated("N0", 2'500'000)), "too large"},
        {"a tree of 2^40 leaves", pickled(memo_bomb()), "no dictionary"},
        {"a dictionary within itself", pickled("}q\x01(" + text("state_dict") + "h\x01u"), "no dictionary"},
        {"lists nested 90,000 deep", pickled(repeated("]", 90'000) + repeated("a", 89'999)), "no dictionary"},
        {"a list", pickled("]"), "no dictionary"},
        {"an empty dictionary", pickled("}"), "no dictionary"},
        {"dictionaries that multiply", pickled(bushy()), "no dictionary"},
        {"modules that multiply", pickled(modules_within_modules()), "nested too deeply"},
    };
}

std::vector<Hostile> hostile_tensors() {
    constexpr std::int64_t huge = std::int64_t{1} << 62;
    return {
        {"a view beyond its storage", tensor(view(floats, 1, {2, 3}, {3, 1})), "beyond its storage"},
        {"an offset beyond the storage", tensor(view(floats, 6, {}, {})), "beyond its storage"},
        {"an offset of 2^62", tensor(view(floats, huge, {2}, {huge})), "beyond its storage"},
        {"strides whose product overflows", tensor(view(floats, 0, {5, 5}, {huge, huge})),
         "beyond its storage"},
        {"a shape whose product overflows", tensor(view(floats, 0, {huge, huge, 0}, {0, 0, 0})),
         "beyond its storage"},
        {"a shape of 2^40 repeats", tensor(view(floats, 0, {1 << 30, 1024}, {0, 0})), "repeats"},
        {"a negative offset", tensor(view(floats, -1, {2}, {1})), "malformed tensor"},
        {"a negative size", tensor(view(floats, 0, {-2}, {1})), "malformed tensor"},
        {"a negative stride", tensor(view(floats, 5, {2}, {-1})), "malformed tensor"},
        {"a rank of 9",
         tensor(view(floats, 0, std::vector<std::int64_t>(9, 1), std::vector<std::int64_t>(9, 1))),
         "malformed tensor"},
        {"fewer strides than sizes", tensor(view(floats, 0, {2, 3}, {1})), "malformed tensor"},
        {"a storage that claims more than its record",
         tensor(view(storage("FloatStorage", "0", 7), 0, {7}, {1})), "size it should have"},
        {"a storage that claims less", tensor(view(storage("FloatStorage", "0", 5), 0, {5}, {1})),
         "size it should have"},
        {"a storage of another type", tensor(view(storage("DoubleStorage", "0", 6), 0, {6}, {1})),
         "size it should have"},
        {"a storage of 2^62 doubles", tensor(view(storage("DoubleStorage", "0", huge), 0, {6}, {1})),
         "size it should have"},
        {"a storage of negative size", tensor(view(storage("FloatStorage", "0", -1), 0, {1}, {1})),
         "storage"},
        {"a storage without a record", tensor(view(storage("FloatStorage", "1", 6), 0, {6}, {1})),
         "no record"},
        {"a storage named as a path", tensor(view(storage("FloatStorage", "../x", 6), 0, {6}, {1})),
         "number"},
        {"a storage of no type",
         tensor(view(tuple({text("storage"), global("collections", "OrderedDict"), text("0"), text("cpu"),
                            number(6)}) +
                         'Q',
                     0, {6}, {1})),
         "no type"},
        {"a persistent id that is a text", tensor(text("0") + 'Q'), "malformed storage"},
        {"a parameter of no tensor",
         tensor(global("torch._utils", "_rebuild_parameter") + tuple({"N", "\x89", ordered_dict}) + 'R'),
         "no dictionary"},
    };
}

std::vector<Hostile> hostile_zips() {
    return {
        {"a compressed record", changed_record(2, [](Record& r) { r.method = 8; }), "compressed"},
        {"an encrypted record", changed_record(2, [](Record& r) { r.flags |= 1; }), "encrypted"},
        {"strong encryption", changed_record(2, [](Record& r) { r.flags |= 64; }), "flags"},
        {"a record with another name in its own header",
         changed_record(2, [](Record& r) { r.own_name = "archive/data/1"; }), "another name"},
        {"a record with another size in its own header",
         changed_record(2, [](Record& r) { r.own_size_change = 1; }), "differ"},
        {"a record that is larger than the file",
         changed_record(3, [](Record& r) { r.size_change = 1 << 30; }), "outside"},
        {"a record that overlaps the next", changed_record(2, [](Record& r) { r.size_change = 16; }),
         "overlaps"},
        {"a header in the middle of nowhere",
         changed_record(2, [](Record& r) { r.header_offset_change = 3; }), ""},
        {"a header outside of the file",
         changed_record(3, [](Record& r) { r.header_offset_change = 1 << 20; }), "outside"},
        {"two headers at one place", changed([](Zip& zip) {
             zip.records.push_back(zip.records[3]);
             zip.records[4].name = zip.records[4].own_name = "archive/xersion";
             zip.records[4].header_offset_change = static_cast<std::uint64_t>(-1 * std::int64_t{47});
         }),
         ""},
        {"a record twice", changed([](Zip& zip) { zip.records.push_back(zip.records[2]); }), "twice"},
        {"a wrong CRC", changed_record(2, [](Record& r) { r.crc_change = 1; }), "CRC"},
        {"a wrong CRC of the pickle", changed_record(0, [](Record& r) { r.crc_change = 1; }), "CRC"},
        {"a comment of a record", changed_record(2, [](Record& r) { r.comment = "x"; }), "comment"},
        {"a comment of the file", changed([](Zip& zip) { zip.comment = "x"; }), ""},
        {"something behind the end", changed([](Zip& zip) { zip.after = "x"; }), "behind the end"},
        {"another zip file behind the end", archive(good_pickle).bytes() + archive(good_pickle).bytes(), ""},
        {"something before the start", changed([](Zip& zip) { zip.before = "MZ"; }), ""},
        {"a gap before the directory", changed([](Zip& zip) { zip.directory_change = 4; }), "directory"},
        {"fewer records than counted", changed([](Zip& zip) { zip.count_change = 1; }), "cut short"},
        {"more records than counted", changed([](Zip& zip) { zip.count_change = -1; }), "fewer records"},
        {"a second disk", changed([](Zip& zip) { zip.disk = 1; }), "disks"},
        {"20,000 records", changed([](Zip& zip) {
             for (int i = 0; i < 20'000; ++i) zip.records.push_back({"archive/x" + std::to_string(i), ""});
         }),
         "too large"},
        {"records in two folders", changed_record(2, [](Record& r) { r.name = "other/data/0"; }),
         "one folder"},
        {"records in no folder", changed([](Zip& zip) {
             for (Record& r : zip.records) r.name = r.name.substr(8);
         }),
         "one folder"},
        {"no pickle at all", changed([](Zip& zip) { zip.records.erase(zip.records.begin()); }),
         "no data.pkl"},
        {"a program", changed([](Zip& zip) {
             zip.records.push_back({"archive/constants.pkl", "x"});
         }),
         "TorchScript"},
        {"big-endian numbers", changed_record(1, [](Record& r) { r.bytes = "big"; }), "little-endian"},
        {"no version", changed([](Zip& zip) { zip.records.pop_back(); }), "version"},
        {"version 99", changed_record(3, [](Record& r) { r.bytes = "99\n"; }), "version"},
        {"a version of 1 MB", changed_record(3, [](Record& r) { r.bytes = std::string(1 << 20, '3'); }),
         "too large"},
        {"a pickle of 17 MiB", archive(std::string(17 << 20, 'N')).bytes(), "too large"},
        {"an empty zip file", Zip{}.bytes(), "no records"},
    };
}

class TorchFileHostile : public testing::TestWithParam<Hostile> {};

TEST_P(TorchFileHostile, is_refused_in_one_line) {
    const std::string line = refusal(GetParam().bytes);
    ASSERT_NE(line, "");
    EXPECT_NE(line.find(GetParam().why), std::string::npos) << line;
}

INSTANTIATE_TEST_SUITE_P(Pickles, TorchFileHostile, testing::ValuesIn(hostile_pickles()));
INSTANTIATE_TEST_SUITE_P(Tensors, TorchFileHostile, testing::ValuesIn(hostile_tensors()));
INSTANTIATE_TEST_SUITE_P(Zips, TorchFileHostile, testing::ValuesIn(hostile_zips()));

}  // namespace
}  // namespace onecycle
