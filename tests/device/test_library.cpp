// Libraries that are opened at run time, and which GPUs a build serves.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "device/cuda/library.h"
#include "device/cuda/machine.h"
#include "onecycle/error.h"

namespace onecycle::testing {
namespace {

class LibraryPath : public ::testing::Test {
  protected:
    void TearDown() override { ::unsetenv("ONECYCLE_LIBRARY_PATH"); }
};

TEST_F(LibraryPath, a_library_is_found_in_the_folders_of_the_variable) {
    ::setenv("ONECYCLE_LIBRARY_PATH", "/no/such/folder::" ONECYCLE_TEST_LIBRARIES, 1);
    const SharedLibrary library("libonecycle_found.so", "the test's library");
    EXPECT_EQ(library.function<int()>("onecycle_found")(), 42);
    EXPECT_THROW(library.function<int()>("onecycle_not_there"), Error);
}

TEST_F(LibraryPath, the_folder_that_holds_wheels_of_libraries_will_do) {
    const std::string wheels = std::filesystem::path(ONECYCLE_TEST_LIBRARIES).parent_path().parent_path();
    ::setenv("ONECYCLE_LIBRARY_PATH", wheels.c_str(), 1);
    EXPECT_EQ(SharedLibrary("libonecycle_found.so", "ours").function<int()>("onecycle_found")(), 42);
}

TEST_F(LibraryPath, the_variable_goes_before_what_the_system_has) {
    ::setenv("ONECYCLE_LIBRARY_PATH", ONECYCLE_TEST_LIBRARIES, 1);
    EXPECT_EQ(SharedLibrary("libz.so.1", "zlib").function<int()>("onecycle_found")(), 42);
}

TEST_F(LibraryPath, one_that_is_nowhere_or_broken_is_an_error_that_names_it_and_the_variable) {
    ::setenv("ONECYCLE_LIBRARY_PATH", ONECYCLE_TEST_LIBRARIES, 1);
    for (const auto& [file, why] :
         {std::pair{"libnowhere.so.9", "No such file"}, {"libbroken.so", "invalid ELF"}}) {
        try {
            const SharedLibrary library(file, "cuDNN 9");
            ADD_FAILURE() << file;
        } catch (const Error& error) {
            const std::string said = error.what();
            EXPECT_EQ(error.exit_code(), 7);
            EXPECT_EQ(said.rfind(std::string("cannot open cuDNN 9: ") + file + ": ", 0), 0u) << said;
            EXPECT_NE(said.find("ONECYCLE_LIBRARY_PATH"), std::string::npos) << said;
            EXPECT_NE(said.find(why), std::string::npos) << said;
        }
    }
}

TEST(Architectures, code_runs_on_its_major_version_and_ptx_on_everything_newer) {
    EXPECT_TRUE(runs_on("80-virtual 90-real", 8, 0));
    EXPECT_TRUE(runs_on("80-virtual 90-real", 8, 9));
    EXPECT_TRUE(runs_on("80-virtual 90-real", 12, 0));
    EXPECT_TRUE(runs_on("86-real", 8, 9));
    EXPECT_TRUE(runs_on("90", 10, 0));
    EXPECT_TRUE(runs_on("90a-real", 9, 0));
    EXPECT_TRUE(runs_on("all-major", 9, 0));
    EXPECT_FALSE(runs_on("86-real", 8, 0));
    EXPECT_FALSE(runs_on("90-real", 10, 0));
    EXPECT_FALSE(runs_on("90", 8, 9));
    EXPECT_FALSE(runs_on("90a", 10, 0));
    EXPECT_FALSE(runs_on("", 9, 0));
}

}  // namespace
}  // namespace onecycle::testing
