// The command line program: picks the verb, and turns every failure into one line and an exit code.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <new>
#include <string_view>
#include <thread>

#include "cli/other_words.h"
#include "cli/verb.h"
#include "core/shell_quoted.h"
#include "core/signals.h"
#include "core/threads.h"
#include "device/communicator.h"
#include "device/launched_rank.h"
#include "onecycle/error.h"
#include "onecycle/model.h"

namespace onecycle::cli {

namespace {

struct VerbEntry {
    const char* name;
    const char* summary;
    std::unique_ptr<Verb> (*make)();
};

constexpr VerbEntry verbs[] = {
    {"find", "find the learning rate: a range test, its curve and what it says", make_find},
    {"train", "train a classifier on a folder of images", make_train},
    {"finetune", "train from someone's weights: the head first, then everything", make_finetune},
    {"eval", "how good a model is on a folder of images", make_eval},
    {"predict", "what a model sees in images", make_predict},
    {"export", "a model for other programs: safetensors or ONNX", make_export},
    {"plan", "the schedule, or the program of a training step", make_plan},
    {"info", "what a model, checkpoint or run folder holds", make_info},
    {"profile", "what each operation of a training step costs, and what the hardware allows", make_profile},
    {"doctor", "what this machine can do, and what to install", make_doctor},
    {"pack", "images into shards, archives that are read in long pieces; made smaller once, if wanted",
     make_pack},
    {"demo-data", "make a small image folder to try things on", make_demo_data},
};

// CLI11's help, with defaults behind the text.
class HelpFormatter : public CLI::Formatter {
  public:
    HelpFormatter() {
        column_width(name_width);
        label("SUBCOMMAND", "VERB");
        label("Subcommands", "Verbs");
        label("OPTIONS", "options");
    }

    static constexpr int name_width = 30;

    std::string make_option_opts(const CLI::Option* option) const override {
        const std::string type = option->get_type_size() == 0 ? "" : option->get_type_name();
        return type.empty() ? "" : " " + type;
    }

    std::string make_option_desc(const CLI::Option* option) const override {
        const std::string value = option->get_default_str();
        return option->get_description() + (value.empty() ? "" : " [" + value + "]");
    }
};

[[noreturn]] void refuse_words(const std::string& what, const std::string& where, const std::string& why,
                               const std::string& fix) {
    throw Error(ErrorKind::usage, what, where, why, fix);
}

// What stands behind the option in the command line: its value, where it has one.
std::string value_behind(const std::string& option, const std::vector<std::string>& words) {
    if (const std::size_t equals = option.find('='); equals != std::string::npos)
        return option.substr(equals + 1);
    const auto found = std::find(words.begin(), words.end(), option);
    return found == words.end() || found + 1 == words.end() || (found + 1)->starts_with('-') ? "" : found[1];
}

// What was probably meant by `word`: by its meaning elsewhere, else by its spelling.
std::string meant(const CLI::App* verb, const std::string& word, const std::vector<std::string>& words) {
    std::vector<std::string> names, options;
    if (!verb) {
        for (const VerbEntry& entry : verbs) names.push_back(entry.name);
        const std::string known = instead_of_verb(word);
        return known.empty() ? nearest(word, names) : known;
    }
    for (const CLI::Option* option : verb->get_options())
        for (const std::string& name : option->get_lnames()) {
            names.push_back("--" + name);
            options.push_back("--" + name + (option->get_items_expected_max() > 0 ? " VALUE" : ""));
        }
    const std::string known = instead_of_option(word, value_behind(word, words), options);
    return known.empty() ? nearest(word.substr(0, word.find('=')), names) : known;
}

// As the end of an error: what was meant, then `otherwise`.
std::string advice(const std::string& meant, const std::string& otherwise) {
    if (meant.empty() || meant.starts_with("leave it out")) return meant.empty() ? otherwise : meant;
    return "did you mean " + meant + "?" + (otherwise.empty() ? "" : " " + otherwise);
}

// A word that is neither an option nor an argument of the verb, or no verb (null).
[[noreturn]] void refuse_word(const std::string& word, const CLI::App* verb,
                              const std::vector<std::string>& words) {
    const bool option = word.starts_with('-');
    const std::string name = option ? word.substr(0, word.find('=')) : word;
    const bool searched = option || !verb || word.find('=') != std::string::npos;
    const std::string close = searched ? meant(verb, word, words) : "";
    const std::string help = verb ? "onecycle " + verb->get_name() + " --help" : "onecycle --help";
    const std::string fix = advice(close, help + " lists them all");
    if (option)
        refuse_words("unknown option", name, verb ? verb->get_name() + " has no such option" : "not known",
                     fix);
    if (!verb) refuse_words("unknown verb", word.empty() ? "''" : word, "not known", fix);
    refuse_words("unexpected argument", word.empty() ? "''" : word,
                 verb->get_name() + " takes no further argument",
                 close.empty() ? "leave it out; " + help + " shows the form" : fix);
}

// Options as other programs write them, as in size=64, would be taken for folders.
void refuse_named_values(const CLI::App& verb, const std::vector<std::string>& words) {
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        const std::size_t equals = word.find('=');
        if (equals == std::string::npos || word[0] == '-' || (i > 0 && words[i - 1].starts_with('-')) ||
            word.find('/') < equals || std::filesystem::exists(word))
            continue;
        const std::string close = meant(&verb, word, words);
        if (!close.empty())
            refuse_words("unexpected argument", word, "options begin with --", advice(close, ""));
    }
}

// A verb with its options, as the command line declares them: they may have taken their defaults
// from a file.
struct Declared {
    Declared(const VerbEntry& entry, const std::vector<std::string>& words)
        : app(entry.summary, entry.name), arguments(app), verb(entry.make()) {
        app.formatter(std::make_shared<HelpFormatter>());
        app.set_help_flag("-h,--help", "show this help");
        verb->declare(arguments, words);
    }

    CLI::App app;
    Arguments arguments;
    std::unique_ptr<Verb> verb;
};

// Of the ranks of a job, the first one alone answers.
void show_help(const std::string& text) {
    if (launched_rank() == 0) Console({}).answer(text, HelpFormatter::name_width);
}

// The help of the program, with the verbs.
std::string general_help() {
    CLI::App app("Finds the learning rate, then trains an image classifier on a folder of images.",
                 "onecycle");
    app.formatter(std::make_shared<HelpFormatter>());
    app.set_help_flag("-h,--help", "show this help; after a verb, or as `onecycle help VERB`, the verb's");
    app.set_version_flag("--version", "onecycle " ONECYCLE_VERSION, "show the version");
    app.footer(
        "First steps:\n"
        "  onecycle find photos/                           # which learning rate?\n"
        "  onecycle train photos/                          # find it, then train\n"
        "  onecycle predict cat.jpg --model runs/photos    # use what was trained\n"
        "\n`photos/` holds a folder of images for each class. `onecycle VERB --help` tells more.");
    app.require_subcommand(1);
    for (const VerbEntry& entry : verbs) app.add_subcommand(entry.name, entry.summary);
    return app.help();
}

const VerbEntry* verb_named(const std::string& name) {
    const auto found =
        std::find_if(std::begin(verbs), std::end(verbs), [&](const VerbEntry& v) { return v.name == name; });
    return found == std::end(verbs) ? nullptr : found;
}

// Which verb is meant, and the words without it: options may also stand before it.
struct Command {
    const VerbEntry* verb = nullptr;
    std::vector<std::string> words;  // options that stood before it, then what stood behind it
    std::string stray;               // an argument that stood before it
};

// The first word that names a verb, unless it is the value of an option before it.
Command find_command(const std::vector<std::string>& words) {
    for (std::size_t i = 0; i < words.size(); ++i) {
        Command command{.verb = verb_named(words[i])};
        if (!command.verb) continue;
        const Declared known(*command.verb, {});
        std::size_t at = 0;
        while (at < i) {
            const std::string& word = words[at++];
            if (!word.starts_with('-') && command.stray.empty()) command.stray = word.empty() ? "''" : word;
            if (!word.starts_with("--") || word.find('=') != std::string::npos) continue;
            const CLI::Option* option = known.app.get_option_no_throw(word);
            if (option && option->get_items_expected_max() > 0) ++at;
        }
        if (at > i) continue;
        command.words = words;
        command.words.erase(command.words.begin() + static_cast<std::ptrdiff_t>(i));
        return command;
    }
    return {};
}

bool holds(const std::vector<std::string>& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
}

// A command line without a verb: a question, or a mistake.
void answer_without_verb(const std::vector<std::string>& words) {
    if (holds(words, "-h") || holds(words, "--help")) return show_help(general_help());
    const auto no_verb = [](const std::string& where) {
        refuse_words("no verb", where, "nothing was asked for", "onecycle --help lists the verbs");
    };
    if (words.empty()) no_verb("onecycle");
    const Declared known(verbs[0], {});  // it has the options that all verbs share
    const std::string& first = words.front();
    if (first.starts_with("--") && known.app.get_option_no_throw(first.substr(0, first.find('='))))
        no_verb(first);
    refuse_word(first, nullptr, words);
}

// `onecycle help VERB`
void answer_help(const std::vector<std::string>& words) {
    const auto named =
        std::find_if(words.begin() + 1, words.end(), [](const auto& w) { return !w.starts_with('-'); });
    if (named == words.end() || *named == "help") return show_help(general_help());
    const VerbEntry* entry = verb_named(*named);
    if (!entry) refuse_word(*named, nullptr, words);
    show_help(Declared(*entry, {}).app.help("onecycle"));
}

// The line and the exit code of what ended the program; `code` 128 and more: a signal, no line.
struct Failure {
    std::string line;
    int code;
};
Failure failure_of(std::exception_ptr what) {
    try {
        std::rethrow_exception(std::move(what));
    } catch (const Error& error) {
        return {error.what(), error.exit_code()};
    } catch (const Interrupted& interrupted) {
        return {"", 128 + interrupted.signal};
    } catch (const std::bad_alloc&) {
        const Error error(ErrorKind::io, "out of memory", "onecycle", "the machine has no more to give",
                          "end other programs; images take less with a smaller --batch-size or --size");
        return {error.what(), error.exit_code()};
    } catch (const std::exception& unexpected) {
        const Error error(ErrorKind::io, "unexpected failure", "onecycle", unexpected.what(),
                          "this is a fault of the program: please report it");
        return {error.what(), error.exit_code()};
    }
}

// What all ranks find wrong is said by one: when its line is out, the job ends.
constexpr std::chrono::seconds others_may_speak{2};

// As a rank of a job: what ends one ends the job, since the others wait for it.
int run_on_ranks(Declared& chosen, Console& console, Communicator& ranks) {
    int code = 0;
    try {
        use_share_of_cores(ranks.place().local_rank, ranks.place().local_ranks);
        code = chosen.verb->run(chosen.arguments, console);
        console.end_progress();
        ranks.finish();
    } catch (...) {
        const Failure failure = failure_of(std::current_exception());
        if (!console.leads()) std::this_thread::sleep_for(others_may_speak);
        if (!failure.line.empty()) console.warn("error: " + failure.line);
        console.flush();
        ranks.abort(failure.code);
    }
    return code;
}

// Reads the command line; null where that was all: help, the version.
std::unique_ptr<Declared> read_command_line(const std::vector<std::string>& words) {
    const auto first =
        std::find_if(words.begin(), words.end(), [](const auto& w) { return !w.starts_with('-'); });
    if (std::find(words.begin(), first, "--version") != first) {
        if (launched_rank() == 0) Console({}).result("onecycle " ONECYCLE_VERSION "\n");
        return nullptr;
    }
    if (first != words.end() && *first == "help") {
        answer_help({first, words.end()});
        return nullptr;
    }
    const Command command = find_command(words);
    if (!command.verb) {
        answer_without_verb(words);
        return nullptr;
    }
    if (!command.stray.empty()) {
        std::string right = std::string("onecycle ") + command.verb->name;
        for (const std::string& word : command.words)
            if (!word.empty()) right += " " + shell_quoted(word);
        refuse_words("unexpected argument", command.stray, "it stands before the verb", right);
    }
    auto chosen = std::make_unique<Declared>(*command.verb, command.words);
    CLI::App& app = chosen->app;
    refuse_named_values(app, command.words);
    try {
        app.parse(std::vector(command.words.rbegin(), command.words.rend()));  // CLI11 takes them reversed
    } catch (const CLI::CallForHelp&) {
        show_help(app.help("onecycle"));
        return nullptr;
    } catch (const CLI::ExtrasError&) {
        refuse_word(app.remaining().front(), &app, command.words);
    } catch (const CLI::ArgumentMismatch& mismatch) {
        const std::string text = mismatch.what();
        refuse_words("bad option", text.substr(0, text.find(':')), "it needs exactly one value",
                     "give one after it");
    } catch (const CLI::Error& error) {
        refuse_words("bad command line", app.get_name(), error.what(), "--help shows the form");
    }
    return chosen;
}

int run(Declared& chosen) {
    Console console(chosen.verb->console_options());
    // What the ranks do not share, the first one does alone, also where there is no MPI.
    const bool shared = chosen.verb->runs_on_ranks();
    if (!shared && launched_rank() > 0) return 0;
    const std::shared_ptr<Communicator> ranks = shared ? join_ranks() : nullptr;
    console.join(ranks);
    if (ranks) return run_on_ranks(chosen, console, *ranks);
    const int code = chosen.verb->run(chosen.arguments, console);
    console.end_progress();
    return code;
}

}  // namespace

}  // namespace onecycle::cli

namespace {

// OpenMP's threads wait for each other by spinning for milliseconds. That is fine on an idle
// machine, but where the loader's threads or other programs need a core, a step takes up to ten
// times as long. libgomp reads how long to spin only when it is loaded, so the program sets it and
// starts itself once more; not where somebody has set it (docs/emulated.md tells who debugs).
void spin_briefly(char** argv) {
    if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", "10000", 1) == 0) execv("/proc/self/exe", argv);
    // Where that fails, all works as before, only slower under load.
}

// A standard stream that was closed before the start would lend its number to the next file that is
// opened, and the report would go into that file. What stands in for it takes no bytes: writing
// fails as before.
void fill_closed_streams() {
    for (int file = 0; file >= 0 && file <= STDERR_FILENO;) {
        file = ::open("/dev/null", O_RDONLY);
        if (file > STDERR_FILENO) ::close(file);
    }
}

}  // namespace

int main(int argc, char** argv) {
    using namespace onecycle;
    fill_closed_streams();
    ignore_signals_of_writing();
    spin_briefly(argv);
    (void)::prctl(PR_SET_NAME, "onecycle");  // pgrep finds it: the start through /proc made it "exe"
    std::unique_ptr<cli::Declared> chosen;
    try {
        chosen = cli::read_command_line(std::vector<std::string>(argv + 1, argv + argc));
        return chosen ? cli::run(*chosen) : 0;
    } catch (...) {
        const cli::Failure failure = cli::failure_of(std::current_exception());
        const bool follows = launched_rank() > 0;
        if (follows) std::this_thread::sleep_for(cli::others_may_speak);
        // A launcher gives each rank the same words: what is wrong with them the first one says.
        if (!failure.line.empty() && (chosen || !follows)) cli::Console({}).warn("error: " + failure.line);
        return failure.code;
    }
}
