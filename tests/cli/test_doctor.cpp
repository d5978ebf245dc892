// What the program says of the machine, and what it does where a GPU cannot be used. Drivers are
// played by fake_driver.cpp, so these cases are the same on every machine.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/program.h"

namespace onecycle::test {
namespace {

using Json = nlohmann::json;

// An environment variable for the time of a test.
class Variable {
  public:
    Variable(const char* name, const std::string& value) : name_(name) {
        if (const char* old = std::getenv(name)) old_ = old;
        ::setenv(name, value.c_str(), 1);
    }
    ~Variable() { ::setenv(name_, old_.c_str(), 1); }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;

  private:
    const char* name_;
    std::string old_;
};

Json doctor(const Workplace& place) {
    const Outcome outcome = place.run({"doctor", "--json"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out);
}

Json back_end(const Json& said, const std::string& name) {
    for (const Json& b : said["backends"])
        if (b["name"] == name) return b;
    return {};
}

// The driver that is found is ours: its folder is the first place where the loader looks.
class FakeDriver {
  public:
    explicit FakeDriver(const std::string& cuda) : version_("FAKE_CUDA_VERSION", cuda) {}

  private:
    Variable version_, path_{"LD_LIBRARY_PATH", ONECYCLE_FAKE_DRIVER};
};

bool built_with_cuda(const Workplace& place) {
    return back_end(doctor(place), "cuda")["built"].get<bool>();
}

TEST(Doctor, names_every_back_end_device_library_and_version) {
    const Workplace place;
    const Json said = doctor(place);
    for (const char* name : {"cpu", "emulated"})
        EXPECT_TRUE(back_end(said, name)["ready"].get<bool>()) << name;
    const Json cuda = back_end(said, "cuda");
    EXPECT_FALSE(cuda["ready"].get<bool>());  // tests see no GPU
    EXPECT_NE(cuda["note"], "");
    EXPECT_GE(said["devices"].size(), 2u);
    EXPECT_EQ(said["libraries"]["png"].get<std::string>().rfind("libpng 1.", 0), 0u);
    EXPECT_NE(said["libraries"]["oneDNN"].get<std::string>(), "");
    EXPECT_NE(said["libraries"]["jpeg"].get<std::string>(), "");
    EXPECT_TRUE(said["libraries"].contains("MPI"));
    if (cuda["built"]) {
        for (const char* name : {"cuDNN", "cuBLAS", "NCCL"})
            EXPECT_TRUE(said["libraries"].contains(name)) << name;
        EXPECT_TRUE(said["cuda"]["toolkit"].is_string());
        EXPECT_TRUE(said["cuda"]["architectures"].is_string());
    } else {
        EXPECT_TRUE(said["cuda"]["toolkit"].is_null());
    }
}

TEST(Doctor, device_cuda_fails_with_what_doctor_says_is_missing) {
    const Workplace place;
    const std::string missing = back_end(doctor(place), "cuda")["note"];
    const Outcome outcome = place.run({"train", "data", "--device", "cuda"});
    EXPECT_EQ(outcome.code, 7);
    EXPECT_EQ(outcome.err.rfind("error: no such device: --device cuda: " + missing + "; fix: ", 0), 0u)
        << outcome.err;
}

TEST(Doctor, a_driver_that_is_missing_too_old_or_without_a_gpu_is_told_apart) {
    const Workplace place;
    if (!built_with_cuda(place)) GTEST_SKIP() << "a build without CUDA";
    const std::vector<std::pair<std::string, std::string>> cases = {
        {"0", "there is no NVIDIA driver"},
        {"11080", "knows CUDA 11.8, this program needs "},
        {"99000", "the driver sees no GPU"},
    };
    std::set<std::string> fixes;
    for (const auto& [version, why] : cases) {
        const FakeDriver driver(version);
        const Outcome outcome = place.run({"train", "data", "--device", "cuda"});
        EXPECT_EQ(outcome.code, 7);
        EXPECT_NE(outcome.err.find(why), std::string::npos) << version << ": " << outcome.err;
        fixes.insert(outcome.err.substr(outcome.err.find("; fix: ")));
    }
    EXPECT_EQ(fixes.size(), cases.size());
}

TEST(Doctor, device_auto_is_the_cpu_where_no_gpu_can_be_used_and_says_nothing_of_it) {
    const Workplace place;
    ASSERT_EQ(place.run({"demo-data", "data", "--classes", "2", "--images", "8", "--size", "32"}).code, 0);
    const FakeDriver driver("11080");
    const Outcome outcome = place.run({"train", "data", "--arch", "resnet18", "--size", "32", "--batch-size",
                                       "4", "--epochs", "1", "--max-lr", "0.01", "--out", "run"});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(Json::parse(place.read("run/config.json"))["device"], "cpu");
    EXPECT_EQ((outcome.out + outcome.err).find("driver"), std::string::npos);
}

TEST(Doctor, tf32_is_refused_where_there_are_no_tensor_cores) {
    const Workplace place;
    for (const char* device : {"cpu", "emulated"}) {
        const Outcome outcome = place.run({"train", "data", "--device", device, "--precision", "tf32"});
        EXPECT_EQ(outcome.code, 7) << device;
        EXPECT_EQ(outcome.err.rfind("error: no such precision: --precision tf32: ", 0), 0u) << outcome.err;
    }
}

TEST(Doctor, mpi_is_found_or_said_to_be_missing) {
    const Workplace place;
    const auto found = [&] { return doctor(place)["libraries"]["MPI"].is_string(); };
    const bool built =
        std::filesystem::exists(std::filesystem::path(ONECYCLE_BINARY).parent_path() / "onecycle_mpi.so");
    EXPECT_EQ(found(), built);
    ::setenv("ONECYCLE_MPI_MODULE", "/nowhere/onecycle_mpi.so", 1);
    EXPECT_FALSE(found());
    const Outcome outcome = place.run({"doctor"});
    ::unsetenv("ONECYCLE_MPI_MODULE");
    EXPECT_NE(outcome.out.find("cannot open /nowhere/onecycle_mpi.so"), std::string::npos) << outcome.out;
}

// One binary starts anywhere: MPI, the driver, cuDNN, cuBLAS and NCCL are opened when they are wanted.
TEST(Doctor, the_binary_is_linked_with_no_library_of_cuda_or_mpi) {
    std::FILE* const pipe = ::popen("ldd " ONECYCLE_BINARY, "r");
    ASSERT_NE(pipe, nullptr);
    std::string libraries;
    for (char part[256]; std::fgets(part, sizeof part, pipe);) libraries += part;
    ASSERT_EQ(::pclose(pipe), 0);
    EXPECT_NE(libraries.find("libstdc++"), std::string::npos) << libraries;
    for (const char* name : {"libcu", "libnccl", "libnv", "libmpi", "libopen-"})
        EXPECT_EQ(libraries.find(name), std::string::npos) << libraries;
}

}  // namespace
}  // namespace onecycle::test
