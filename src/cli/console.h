// Where the program's words go: results to stdout, progress and warnings to stderr; with --json one
// object on stdout and everything else on stderr. Nothing else in the project writes to either.
// What people read is wrapped at the width of the terminal that shows it; a pipe or a file gets
// whole lines. Reports, warnings and progress never wait for a reader; results do.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "cli/output_queue.h"
#include "onecycle/log.h"

namespace onecycle {
class Communicator;
}

namespace onecycle::cli {

class Arguments;

enum class Progress { automatic, plain, none };

struct ConsoleOptions {
    bool json = false, quiet = false, no_color = false;
    Progress progress = Progress::automatic;
};

// --quiet, --no-color, --progress, and --json where the verb has it.
void declare_console_options(Arguments& arguments, ConsoleOptions& options, bool with_json);

// For Console::stop_answer(): while images are looked through, and where nothing is to be saved.
inline constexpr const char* nothing_begun = "Stopping. Nothing has begun yet.";
inline constexpr const char* after_this_batch = "Stopping after this batch. Ctrl-C again stops at once.";
inline constexpr const char* stopping = "Stopping. Ctrl-C again stops at once.";

// The columns of the terminal that `file`, a descriptor, is; 0: it is none, or does not say.
int columns_of_terminal(int file);

class Console {
  public:
    explicit Console(const ConsoleOptions& options);
    ~Console() { end_progress(); }
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    bool json() const { return options_.json; }

    // Makes this the console of a rank of a job. Rank 0 alone speaks; the others warn, by name.
    void join(std::shared_ptr<Communicator> ranks);
    const std::shared_ptr<Communicator>& ranks() const { return ranks_; }  // null: no job
    bool leads() const { return !silent_; }

    // A result that was asked for, as it is: CSV, a JSON object. Throws Error(io) when stdout
    // cannot take it, Interrupted when a stop signal came and nobody reads it.
    void result(const std::string& text);

    // The same for people's eyes: wrapped on a terminal; see wrapped() for `hanging`.
    void answer(const std::string& text, int hanging = -1);

    // The same, left out under --quiet: a report that is all that the verb was asked for.
    void report(const std::string& text);

    // A line of a report for people: on stdout (stderr under --json), left out under --quiet.
    void say(const std::string& line);

    // On stderr, also under --quiet.
    void warn(const std::string& line);

    // Waits until all warnings have gone out.
    void flush() { errors_->deliver(""); }

    // The state of a long work: a line that is rewritten on a terminal, elsewhere a plain line at
    // most every ten seconds. While progress_due() is false a line would be dropped, so it need not
    // be made.
    void progress(const std::string& line);
    bool progress_due() const;
    bool bar() const { return bar_; }  // a terminal
    int width() const;                 // its columns; 80 where there is none
    int report_columns() const;        // those that say() reaches; 0: no terminal
    void end_progress();               // clears the line

    // Text in bold where say() reaches a terminal that shows it (--no-color, NO_COLOR, TERM=dumb
    // say no).
    std::string bold(const std::string& text) const;

    LogSink log();

    // `line` as the answer to a first Ctrl-C, ready to be written to stderr by a signal handler.
    std::string stop_answer(const std::string& line) const;

  private:
    void write(int file, const std::string& text);

    ConsoleOptions options_;
    std::shared_ptr<Communicator> ranks_;
    bool silent_ = false;                            // a rank that does not lead
    std::string who_;                                // stands before its warnings
    std::shared_ptr<OutputQueue> errors_, results_;  // one and the same where both go to one place
    bool color_, bar_;
    bool bar_shown_ = false;
    std::chrono::steady_clock::time_point next_progress_{};
};

}  // namespace onecycle::cli
