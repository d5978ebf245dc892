#include "cli/program.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

namespace onecycle::test {

namespace fs = std::filesystem;

namespace {

std::string contents(const fs::path& file) {
    std::ifstream stream(file, std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

}  // namespace

pid_t Workplace::start(const std::vector<std::string>& arguments, bool streams, const std::string& input,
                       const std::function<void()>& prepare) const {
    std::vector<char*> argv{const_cast<char*>("onecycle")};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const std::string out = streams_ / "out", err = streams_ / "err";
    const pid_t child = ::fork();
    if (child != 0) return child;
    if (::dup2(::open(input.c_str(), O_RDONLY), STDIN_FILENO) < 0) ::_exit(125);
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    if (::dup2(::open(out.c_str(), flags, 0600), STDOUT_FILENO) < 0) ::_exit(125);
    if (::dup2(::open(err.c_str(), flags, 0600), STDERR_FILENO) < 0) ::_exit(125);
    if (!streams)
        for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::close(stream);
    if (prepare) prepare();
    if (::chdir(path().c_str()) != 0) ::_exit(125);
    ::execv(ONECYCLE_BINARY, argv.data());
    ::_exit(126);
}

Outcome Workplace::finish(pid_t child) const {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    Outcome outcome;
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    outcome.out = contents(streams_ / "out");
    outcome.err = contents(streams_ / "err");
    return outcome;
}

pid_t Workplace::start_prepared(const std::vector<std::string>& arguments,
                                const std::function<void()>& prepare) const {
    return start(arguments, true, "/dev/null", prepare);
}

Outcome Workplace::run(const std::vector<std::string>& arguments) const {
    return finish(start(arguments));
}

Outcome Workplace::run_with_input(const std::string& input, const std::vector<std::string>& arguments) const {
    std::ofstream(streams_ / "in", std::ios::binary) << input;
    return finish(start(arguments, true, streams_ / "in"));
}

Outcome Workplace::run_without_streams(const std::vector<std::string>& arguments) const {
    return finish(start(arguments, false));
}

pid_t Workplace::start_on_terminal(const std::vector<std::string>& arguments, int& terminal,
                                   int columns) const {
    std::vector<char*> argv{const_cast<char*>("onecycle")};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    winsize size{};
    size.ws_row = 40;
    size.ws_col = static_cast<unsigned short>(columns);
    const pid_t child = ::forkpty(&terminal, nullptr, nullptr, &size);
    if (child != 0) return child;
    ::setenv("TERM", "xterm", 1);
    ::unsetenv("NO_COLOR");
    if (::chdir(path().c_str()) != 0) ::_exit(125);
    ::execv(ONECYCLE_BINARY, argv.data());
    ::_exit(126);
}

Outcome Workplace::run_on_terminal(int columns, const std::vector<std::string>& arguments,
                                   const std::vector<std::string>& keys) const {
    int terminal = -1;
    const pid_t child = start_on_terminal(arguments, terminal, columns);
    Outcome outcome;
    std::size_t key = 0, seen = 0;
    char bytes[4096];
    for (ssize_t n; (n = ::read(terminal, bytes, sizeof bytes)) > 0 || (n < 0 && errno == EINTR);) {
        if (n > 0) outcome.out.append(bytes, static_cast<std::size_t>(n));
        if (key == keys.size()) continue;
        const std::size_t shown = outcome.out.find(keys[key], seen);
        if (shown == std::string::npos) continue;
        seen = shown + keys[key++].size();
        if (::write(terminal, "\x03", 1) != 1) break;
    }
    ::close(terminal);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
}

Outcome Workplace::run_until(const std::string& ready, int signal,
                             const std::vector<std::string>& arguments) const {
    const pid_t child = start(arguments);
    (void)appears(ready);
    ::kill(child, signal);
    return finish(child);
}

bool Workplace::appears(const std::string& name) const {
    using namespace std::chrono_literals;
    for (int tries = 0; !fs::exists(folder_ / name) && tries < 6000; ++tries)
        std::this_thread::sleep_for(10ms);
    return fs::exists(folder_ / name);
}

void Workplace::write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
}

std::string Workplace::read(const std::string& name) const {
    return contents(folder_ / name);
}

std::vector<std::string> Workplace::listing() const {
    std::vector<std::string> paths;
    for (const auto& entry : fs::recursive_directory_iterator(path()))
        paths.push_back(entry.path().lexically_relative(path()).string());
    std::sort(paths.begin(), paths.end());
    return paths;
}

}  // namespace onecycle::test
