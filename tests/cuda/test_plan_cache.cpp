#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ops/cuda/plan_cache.h"

namespace onecycle::testing {

namespace {

class PlanCacheTest : public ::testing::Test {
  protected:
    PlanCacheTest() {
        std::string name = (std::filesystem::temp_directory_path() / "onecycle-XXXXXX").string();
        folder_ = mkdtemp(name.data());
    }
    ~PlanCacheTest() override { std::filesystem::remove_all(folder_); }

    void write(const std::string& text) const { std::ofstream(path()) << text; }
    std::string path() const { return (folder_ / "plans.json").string(); }

    std::filesystem::path folder_;
};

TEST_F(PlanCacheTest, gives_back_what_was_added_and_keeps_what_others_added) {
    const PlanCache cache((folder_ / "new" / "folder" / "plans.json").string());
    EXPECT_EQ(cache.find("a"), std::nullopt);
    cache.add("a", "engine 1:");
    PlanCache((folder_ / "new" / "folder" / "plans.json").string()).add("b", "engine 2: 3=4");
    EXPECT_EQ(cache.find("a"), "engine 1:");
    EXPECT_EQ(cache.find("b"), "engine 2: 3=4");
    cache.add("a", "engine 5:");
    EXPECT_EQ(cache.find("a"), "engine 5:");
}

TEST_F(PlanCacheTest, a_damaged_file_is_an_empty_cache_and_is_written_anew) {
    const PlanCache cache(path());
    for (const char* damaged : {"", "{", "[]", "{\"plans\": 3}", "{\"plans\": {\"a\": 7}}", "\xff\xfe"}) {
        write(damaged);
        EXPECT_EQ(cache.find("a"), std::nullopt) << damaged;
        cache.add("a", "engine 1:");
        EXPECT_EQ(cache.find("a"), "engine 1:") << damaged;
    }
}

TEST_F(PlanCacheTest, a_cache_that_cannot_be_written_is_no_error) {
    write("a file where a folder should be");
    const PlanCache cache(path() + "/plans.json");
    cache.add("a", "engine 1:");
    EXPECT_EQ(cache.find("a"), std::nullopt);
    const PlanCache none("");
    none.add("a", "engine 1:");
    EXPECT_EQ(none.find("a"), std::nullopt);
}

TEST_F(PlanCacheTest, lies_in_the_users_cache_folder) {
    setenv("XDG_CACHE_HOME", "/cache", 1);
    EXPECT_EQ(PlanCache::default_path(), "/cache/onecycle/cudnn-plans.json");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", "/home/somebody", 1);
    EXPECT_EQ(PlanCache::default_path(), "/home/somebody/.cache/onecycle/cudnn-plans.json");
    unsetenv("HOME");
    EXPECT_EQ(PlanCache::default_path(), "");
}

}  // namespace

}  // namespace onecycle::testing
