#include "core/free_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "temporary_folder.h"

namespace onecycle {
namespace {

class FreeMemory : public ::testing::Test {
  protected:
    void write(const std::string& path, const std::string& text) {
        const std::filesystem::path file = folder_.path() / path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << text;
    }
    std::uint64_t free(int processes = 1) const { return free_memory(processes, folder_.path().string()); }

    test::TemporaryFolder folder_;
};

TEST_F(FreeMemory, is_what_the_kernel_calls_available) {
    EXPECT_EQ(free(), UINT64_MAX) << "a system that does not say";
    write("proc/meminfo", "MemTotal: 4000 kB\nMemFree: 100 kB\nMemAvailable:   3000 kB\n");
    EXPECT_EQ(free(), 3000u * 1024);
}

TEST_F(FreeMemory, is_less_where_a_control_group_or_one_above_it_allows_less) {
    write("proc/meminfo", "MemAvailable: 3000 kB\n");
    write("proc/self/cgroup", "0::/a/b\n");
    write("sys/fs/cgroup/a/b/memory.max", "max\n");
    write("sys/fs/cgroup/a/b/memory.current", "500000\n");
    EXPECT_EQ(free(), 3000u * 1024);
    write("sys/fs/cgroup/a/memory.max", "2000000\n");
    write("sys/fs/cgroup/a/memory.current", "1500000\n");
    EXPECT_EQ(free(), 500000u);
    write("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 400000\n");
    EXPECT_EQ(free(), 900000u) << "files that can be read again";
    write("sys/fs/cgroup/a/memory.current", "2500000\n");
    write("sys/fs/cgroup/a/memory.stat", "inactive_file 0\n");
    EXPECT_EQ(free(), 0u);
    // In a container its own group is the root.
    write("proc/self/cgroup", "0::/\n");
    write("sys/fs/cgroup/memory.max", "100000\n");
    write("sys/fs/cgroup/memory.current", "30000\n");
    EXPECT_EQ(free(), 70000u);
}

TEST_F(FreeMemory, of_control_groups_of_version_1_too) {
    write("proc/meminfo", "MemAvailable: 3000 kB\n");
    write("proc/self/cgroup", "9:cpu,cpuacct:/c\n7:memory:/c\n");
    write("sys/fs/cgroup/memory/c/memory.limit_in_bytes", "1000000\n");
    write("sys/fs/cgroup/memory/c/memory.usage_in_bytes", "900000\n");
    write("sys/fs/cgroup/memory/c/memory.stat", "cache 1\ntotal_inactive_file 150000\n");
    EXPECT_EQ(free(), 250000u);
}

TEST_F(FreeMemory, is_less_where_the_process_may_take_less) {
    write("proc/meminfo", "MemAvailable: 3000 kB\n");
    const std::string other = "Max open files            1024                 1024                 files\n";
    write("proc/self/limits",
          other + "Max address space         unlimited            unlimited            bytes\n");
    write("proc/self/status", "Name:\tx\nVmSize:\t  1000 kB\nVmData:\t     600 kB\n");
    EXPECT_EQ(free(), 3000u * 1024);
    write("proc/self/limits",
          other + "Max address space         2048000              unlimited            bytes\n");
    EXPECT_EQ(free(), 1000u * 1024);
    write("proc/self/limits",
          "Max data size             1024000              unlimited            bytes\n" + other +
              "Max address space         2048000              unlimited            bytes\n");
    EXPECT_EQ(free(), 400u * 1024);
    EXPECT_EQ(free(2), 400u * 1024) << "it is this process's own";
    EXPECT_EQ(free(10), 300u * 1024) << "a tenth of what all share";
    write("proc/self/status", "VmSize:\t 9000 kB\nVmData:\t 100 kB\n");
    EXPECT_EQ(free(), 0u);
}

TEST(FreeMemoryHere, is_above_nothing) {
    EXPECT_GT(free_memory(), 0u);
}

}  // namespace
}  // namespace onecycle
