// Errors. Every failure a user can meet is an `Error` with four parts, printed on one line as
//     error: what: where: why; fix: action
// The kind is also the exit code of the command line program.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

namespace onecycle {

enum class ErrorKind {
    usage = 2,     // an option is unknown, out of range or missing
    data = 3,      // images, folders, curves
    model = 4,     // model files, checkpoints, run folders
    io = 5,        // reading or writing failed
    diverged = 6,  // the loss or a gradient is not finite
    device = 7,    // no such device, or it failed
};

class Error : public std::runtime_error {
  public:
    // `what`: the operation ("cannot read image"), `where`: file or option, `why`: the cause,
    // `fix`: what the user can do. `fix` may be empty; the others should not be.
    Error(ErrorKind kind, const std::string& what, const std::string& where, const std::string& why,
          const std::string& fix = "");

    ErrorKind kind() const noexcept { return kind_; }
    int exit_code() const noexcept { return static_cast<int>(kind_); }

    // Parts of what(), as they are printed; `fix` is empty where nothing is known to help.
    std::string_view why() const noexcept;
    std::string_view fix() const noexcept;
    std::string_view without_fix() const noexcept;

  private:
    struct Line;
    Error(ErrorKind kind, const Line& line);

    ErrorKind kind_;
    std::size_t why_begins_, why_ends_;  // in what()
};

// The work was ended because a `stop` function, such as Observer's, said so: by this signal.
struct Interrupted : std::exception {
    explicit Interrupted(int signal_) : signal(signal_) {}
    const char* what() const noexcept override { return "interrupted"; }
    int signal;
};

// Replaces control and invisible characters (and bytes that are not UTF-8) by escapes such as \n,
// \x1b or \u202e, so that a file name always stays on one line and shows what it is.
std::string printable(const std::string& bytes);

}  // namespace onecycle
