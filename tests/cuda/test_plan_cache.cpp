#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "ops/cuda/plan_book.h"
#include "ops/cuda/plan_cache.h"
#include "temporary_folder.h"

namespace onecycle::testing {

namespace {

class PlanCacheTest : public ::testing::Test {
  protected:
    void write(const std::string& text) const { std::ofstream(path()) << text; }
    std::string path() const { return folder_ / "plans.json"; }

    test::TemporaryFolder folder_;
};

TEST_F(PlanCacheTest, gives_back_what_was_added_and_keeps_what_others_added) {
    const PlanCache cache(folder_ / "new/folder/plans.json");
    EXPECT_EQ(cache.find("a"), std::nullopt);
    cache.add("a", {{"engine 1:", 1}});
    PlanCache(folder_ / "new/folder/plans.json").add("b", {{"engine 2: 3=4", 1}});
    EXPECT_EQ(cache.find("a"), "engine 1:");
    EXPECT_EQ(cache.find("b"), "engine 2: 3=4");
    cache.add("a", {{"engine 1:", 0.5}, {"engine 5:", 0.25}, {"engine 7:", 0.375}});
    EXPECT_EQ(cache.find("a"), "engine 5:") << "the fastest";
}

TEST_F(PlanCacheTest, writers_at_the_same_time_lose_nothing) {
    constexpr int writers = 4, keys = 10;
    std::vector<std::thread> threads;
    for (int w = 0; w < writers; ++w)
        threads.emplace_back([&, w] {
            for (int k = 0; k < keys; ++k)
                PlanCache(path()).add(std::to_string(w * keys + k), {{"engine 1:", 1}});
        });
    for (std::thread& thread : threads) thread.join();
    for (int k = 0; k < writers * keys; ++k)
        EXPECT_EQ(PlanCache(path()).find(std::to_string(k)), "engine 1:") << k;
}

TEST_F(PlanCacheTest, keeps_what_was_timed_in_its_order) {
    PlanCache(path()).add("a", {{"engine 1:", 0.5}, {"engine 5:", 0.25}});
    std::ifstream file(path());
    const nlohmann::json searches = nlohmann::json::parse(file)["searches"];
    EXPECT_EQ(searches.dump(),
              R"({"a":[{"milliseconds":0.5,"plan":"engine 1:"},{"milliseconds":0.25,"plan":"engine 5:"}]})");
}

TEST_F(PlanCacheTest, a_damaged_file_is_an_empty_cache_and_is_written_anew) {
    const PlanCache cache(path());
    for (const char* damaged :
         {"", "{", "[]", "{\"version\": 2, \"plans\": 3}", "{\"version\": 2, \"plans\": {\"a\": 7}}",
          "{\"version\": 2, \"searches\": 3}", "\xff\xfe"}) {
        write(damaged);
        EXPECT_EQ(cache.find("a"), std::nullopt) << damaged;
        cache.add("a", {{"engine 1:", 1}});
        EXPECT_EQ(cache.find("a"), "engine 1:") << damaged;
    }
}

TEST_F(PlanCacheTest, what_another_version_wrote_is_searched_for_again) {
    const PlanCache cache(path());
    for (const char* other : {R"({"plans": {"a": "engine 62:"}, "searches": {}})",
                              R"({"version": 1, "plans": {"a": "engine 62:"}, "searches": {}})",
                              R"({"version": "2", "plans": {"a": "engine 62:"}, "searches": {}})"}) {
        write(other);
        EXPECT_EQ(cache.find("a"), std::nullopt) << other;
        cache.add("b", {{"engine 1:", 1}});
        EXPECT_EQ(cache.find("a"), std::nullopt) << other;
        EXPECT_EQ(cache.find("b"), "engine 1:") << other;
    }
}

TEST_F(PlanCacheTest, a_cache_that_cannot_be_written_is_no_error) {
    write("a file where a folder should be");
    const PlanCache cache(path() + "/plans.json");
    cache.add("a", {{"engine 1:", 1}});
    EXPECT_EQ(cache.find("a"), std::nullopt);
    const PlanCache none("");
    none.add("a", {{"engine 1:", 1}});
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

TEST(PlanBook, gives_back_the_plans_of_a_record_on_the_same_machine_only) {
    PlanBook first;
    EXPECT_EQ(first.text(), "") << "a device without plans has nothing to record";
    first.use("H200, cuDNN 9.19.0", "conv a", "engine 1:");
    first.use("H200, cuDNN 9.19.0", "conv b", "engine 2: 3=4");
    PlanBook second;
    EXPECT_TRUE(second.prefer(first.text()));
    EXPECT_EQ(second.preferred("H200, cuDNN 9.19.0", "conv a"), "engine 1:");
    EXPECT_EQ(second.preferred("H200, cuDNN 9.19.0", "conv b"), "engine 2: 3=4");
    EXPECT_EQ(second.preferred("H200, cuDNN 9.19.0", "conv c"), std::nullopt);
    EXPECT_EQ(second.preferred("H200, cuDNN 9.20.0", "conv a"), std::nullopt)
        << "an engine's number means something else in another cuDNN";
    second.use("H200, cuDNN 9.19.0", "conv b", "engine 2: 3=4");
    second.use("H200, cuDNN 9.19.0", "conv a", "engine 1:");
    EXPECT_EQ(second.text(), first.text()) << "whatever the order";
    EXPECT_EQ(second.complaint(), "");
    EXPECT_FALSE(second.prefer(first.text())) << "they are in use";
}

TEST(PlanBook, says_in_one_line_which_plans_are_lost) {
    PlanBook first;
    for (const char* convolution : {"conv a", "conv b", "conv c"})
        first.use("H200, cuDNN 9.19.0", convolution, "engine 1:");
    PlanBook second;
    second.prefer(first.text());
    second.use("H200, cuDNN 9.19.0", "conv a", "engine 1:");
    second.use("H200, cuDNN 9.19.0", "conv of another batch", "engine 7:");
    EXPECT_EQ(second.complaint(), "") << "what was not recorded is not lost";
    second.use("H200, cuDNN 9.19.0", "conv b", "engine 7:");
    EXPECT_NE(second.complaint().find("(engine 1: of conv b)"), std::string::npos) << second.complaint();
    second.use("H200, cuDNN 9.19.0", "conv c", "direct");
    EXPECT_NE(second.complaint().find("(engine 1: of conv b and 1 more)"), std::string::npos)
        << second.complaint();
    PlanBook elsewhere;
    elsewhere.prefer(first.text());
    elsewhere.use("A100, cuDNN 9.19.0", "conv a", "engine 1:");
    EXPECT_NE(elsewhere.complaint().find("planned for H200, cuDNN 9.19.0, here is A100"), std::string::npos)
        << elsewhere.complaint();
    EXPECT_EQ(elsewhere.complaint().find('\n'), std::string::npos);
}

TEST(PlanBook, warns_of_a_convolution_once) {
    PlanBook book;
    EXPECT_TRUE(book.first_warning("conv a"));
    EXPECT_TRUE(book.first_warning("conv b"));
    EXPECT_FALSE(book.first_warning("conv a"));
}

TEST(PlanBook, a_damaged_record_prefers_nothing) {
    for (const char* record : {"", "{", "[]", "{}", "{\"machine\": 1, \"plans\": {\"a\": 7}}", "\xff"}) {
        PlanBook book;
        book.prefer(record);
        EXPECT_EQ(book.preferred("", "a").value_or(""), "") << record;
        book.use("H200", "a", "engine 1:");
        EXPECT_EQ(book.text(), R"({"machine":"H200","plans":{"a":"engine 1:"}})");
    }
}

}  // namespace

}  // namespace onecycle::testing
