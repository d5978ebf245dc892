// Runs the real binary as a user would: arguments in, exit code and both streams out.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "temporary_folder.h"

namespace onecycle::test {

struct Outcome {
    int code = -1;  // 128 + the signal's number when it was killed
    std::string out, err;
};

// A folder of its own for each test, deleted afterwards; programs run in it.
class Workplace {
  public:
    std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }
    const std::filesystem::path& path() const { return folder_.path(); }

    Outcome run(const std::vector<std::string>& arguments) const;

    // With this on stdin.
    Outcome run_with_input(const std::string& input, const std::vector<std::string>& arguments) const;

    // With stdin, stdout and stderr closed.
    Outcome run_without_streams(const std::vector<std::string>& arguments) const;

    // On a terminal of so many columns, which shows both streams: `out`. Whenever all of the next
    // of `keys` was shown, Ctrl-C is typed.
    Outcome run_on_terminal(int columns, const std::vector<std::string>& arguments,
                            const std::vector<std::string>& keys = {}) const;

    // Starts the program, waits until `ready` exists in the folder, then sends the signal and
    // waits.
    Outcome run_until(const std::string& ready, int signal, const std::vector<std::string>& arguments) const;

    // Starts the program on a new terminal that is 80 columns wide, whose other end is `terminal`.
    pid_t start_on_terminal(const std::vector<std::string>& arguments, int& terminal, int columns = 80) const;

    // Starts the program; `prepare` runs in the child before it, to set limits or other streams.
    pid_t start_prepared(const std::vector<std::string>& arguments,
                         const std::function<void()>& prepare) const;

    // Waits until it ends.
    Outcome finish(pid_t child) const;

    // Waits up to a minute until `name` exists in the folder.
    bool appears(const std::string& name) const;

    void write(const std::string& name, const std::string& text) const;
    std::string read(const std::string& name) const;

    // Every path below, sorted: to see that a command left nothing behind.
    std::vector<std::string> listing() const;

  private:
    pid_t start(const std::vector<std::string>& arguments, bool streams = true,
                const std::string& input = "/dev/null", const std::function<void()>& prepare = {}) const;

    // On the disk: a test trains many times.
    const TemporaryFolder folder_{std::filesystem::temp_directory_path()}, streams_;
};

}  // namespace onecycle::test
