// Where the program's words go: results to stdout, progress and warnings to stderr; with --json one object on
// stdout and everything else on stderr. Nothing else in the project writes to either.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "onecycle/log.h"

namespace onecycle::cli {

class Arguments;

enum class Progress { automatic, plain, none };

struct ConsoleOptions {
    bool json = false, quiet = false, no_color = false;
    Progress progress = Progress::automatic;
};

// --quiet, --no-color, --progress, and --json where the verb has it.
void declare_console_options(Arguments& arguments, ConsoleOptions& options, bool with_json);

class Console {
  public:
    explicit Console(const ConsoleOptions& options);
    ~Console() { end_progress(); }
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    bool json() const { return options_.json; }

    // A result that was asked for, as it is: CSV, a JSON object. Throws Error(io) when stdout cannot take it.
    void result(const std::string& text);

    // A line of a report for people: on stdout (stderr under --json), left out under --quiet.
    void say(const std::string& line);

    // On stderr, also under --quiet.
    void warn(const std::string& line);

    // The state of a long work: a line that is rewritten on a terminal, elsewhere a plain line at most every
    // ten seconds. While progress_due() is false a line would be dropped, so it need not be made.
    void progress(const std::string& line);
    bool progress_due() const;
    bool bar() const { return bar_; }  // a terminal
    int width() const;                 // its columns
    void end_progress();               // clears the line

    // Text in bold where say() reaches a terminal that shows it (--no-color, NO_COLOR, TERM=dumb say no).
    std::string bold(const std::string& text) const;

    LogSink log();

  private:
    void write(int file, const std::string& text);

    ConsoleOptions options_;
    bool color_, bar_;
    bool bar_shown_ = false;
    std::chrono::steady_clock::time_point next_progress_{};
};

}  // namespace onecycle::cli
