#include "cli/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "cli/arguments.h"
#include "core/echoed.h"
#include "core/file.h"
#include "core/signals.h"
#include "device/communicator.h"
#include "onecycle/error.h"
#include "report/text.h"

namespace onecycle::cli {

namespace {

bool dumb_terminal() {
    const char* term = std::getenv("TERM");
    return !term || std::string_view(term) == "dumb";
}

}  // namespace

int columns_of_terminal(int file) {
    constexpr int least = 20;  // below, words do not fit
    winsize size{};
    return ::ioctl(file, TIOCGWINSZ, &size) == 0 && size.ws_col >= least ? size.ws_col : 0;
}

void declare_console_options(Arguments& arguments, ConsoleOptions& options, bool with_json) {
    arguments.group("Output");
    if (with_json) arguments.flag("--json", options.json, "one JSON object on stdout, the rest on stderr");
    arguments.flag("--quiet", options.quiet, "only results, warnings and errors");
    arguments.flag("--no-color", options.no_color, "no colours");
    arguments.value("--progress", "MODE", "auto", "auto: a bar on a terminal, else plain lines; plain; none",
                    [&options](const std::string& text) {
                        if (text == "auto")
                            options.progress = Progress::automatic;
                        else if (text == "plain")
                            options.progress = Progress::plain;
                        else if (text == "none")
                            options.progress = Progress::none;
                        else
                            throw Error(ErrorKind::usage, "bad option", "--progress " + text, "unknown mode",
                                        "use auto, plain or none");
                    });
}

Console::Console(const ConsoleOptions& options)
    : options_(options),
      errors_(std::make_shared<OutputQueue>(STDERR_FILENO)),
      results_(OutputQueue::same(STDOUT_FILENO, STDERR_FILENO)
                   ? errors_
                   : std::make_shared<OutputQueue>(STDOUT_FILENO)) {
    if (options_.quiet) options_.progress = Progress::none;
    const int report = options_.json ? STDERR_FILENO : STDOUT_FILENO;
    color_ = !options_.no_color && !std::getenv("NO_COLOR") && ::isatty(report) && !dumb_terminal();
    bar_ = options_.progress == Progress::automatic && ::isatty(STDERR_FILENO) && !dumb_terminal();
}

void Console::write(int file, const std::string& text) {
    end_progress();
    // A reader of the report that has gone away, or is at something else, must not end a training.
    (file == STDOUT_FILENO ? results_ : errors_)->offer(wrapped(text, columns_of_terminal(file)));
}

void Console::join(std::shared_ptr<Communicator> ranks) {
    ranks_ = std::move(ranks);
    const RankPlace place = ranks_ ? ranks_->place() : RankPlace{};
    silent_ = place.rank > 0;
    if (!silent_) return;
    who_ = "rank " + std::to_string(place.rank) + " on " + printable(place.host) + ": ";
    options_.quiet = true;
    options_.progress = Progress::none;
}

void Console::result(const std::string& text) {
    if (silent_) return;
    end_progress();
    const int failed = results_->deliver(json() ? printable_json(text) : text);
    if (failed == EINTR) throw Interrupted(stop_signal());
    if (failed && failed != EPIPE) throw file_error("cannot write", "stdout", failed);
}

void Console::answer(const std::string& text, int hanging) {
    result(wrapped(text, columns_of_terminal(STDOUT_FILENO), hanging));
}

void Console::report(const std::string& text) {
    if (options_.quiet) return;
    answer(text);
}

void Console::say(const std::string& line) {
    if (!options_.quiet) write(options_.json ? STDERR_FILENO : STDOUT_FILENO, line + "\n");
}

void Console::warn(const std::string& line) {
    write(STDERR_FILENO, who_ + line + "\n");
}

bool Console::progress_due() const {
    return options_.progress != Progress::none && std::chrono::steady_clock::now() >= next_progress_ &&
           errors_->idle();
}

void Console::progress(const std::string& line) {
    if (!progress_due()) return;
    using namespace std::chrono_literals;
    next_progress_ = std::chrono::steady_clock::now() + (bar_ ? 100ms : 10s);
    if (bar_) {
        errors_->offer("\r\x1b[K" + line);
        bar_shown_ = true;
    } else {
        write(STDERR_FILENO, line + "\n");
    }
}

int Console::width() const {
    const int columns = columns_of_terminal(STDERR_FILENO);
    return columns > 0 ? columns : 80;
}

int Console::report_columns() const {
    return columns_of_terminal(options_.json ? STDERR_FILENO : STDOUT_FILENO);
}

std::string Console::stop_answer(const std::string& line) const {
    return (bar_ ? "\r\x1b[K" : "") + wrapped(line, columns_of_terminal(STDERR_FILENO)) + "\n";
}

std::string Console::bold(const std::string& text) const {
    return color_ ? "\x1b[1m" + text + "\x1b[0m" : text;
}

void Console::end_progress() {
    if (!bar_shown_) return;
    bar_shown_ = false;
    errors_->offer("\r\x1b[K");
}

LogSink Console::log() {
    return [this](LogLevel level, const std::string& line) {
        if (level == LogLevel::warning)
            warn("warning: " + line);
        else
            say(line);
    };
}

}  // namespace onecycle::cli
