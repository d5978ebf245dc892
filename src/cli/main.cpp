// The command line program: picks the verb, and turns every failure into one line and an exit code.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <new>
#include <string_view>

#include "cli/other_words.h"
#include "cli/verb.h"
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
    {"demo-data", "make a small image folder to try things on", make_demo_data},
};

// CLI11's help, with defaults behind the text and long texts wrapped.
class HelpFormatter : public CLI::Formatter {
  public:
    HelpFormatter() { column_width(name_width); }

    std::string make_option_opts(const CLI::Option* option) const override {
        const std::string type = option->get_type_size() == 0 ? "" : option->get_type_name();
        return type.empty() ? "" : " " + type;
    }

    std::string make_option_desc(const CLI::Option* option) const override {
        std::string text = option->get_description();
        if (!option->get_default_str().empty()) text += " [" + option->get_default_str() + "]";
        std::string wrapped;
        std::size_t line = 0;
        for (std::size_t from = 0; from < text.size();) {
            const std::size_t to = std::min(text.find(' ', from), text.size());
            if (line > 0 && line + 1 + (to - from) > text_width) {
                wrapped += '\n';
                line = 0;
            } else if (line > 0) {
                wrapped += ' ';
                ++line;
            }
            wrapped.append(text, from, to - from);
            line += to - from;
            from = to + 1;
        }
        return wrapped;
    }

  private:
    static constexpr std::size_t name_width = 30, text_width = 68;
};

[[noreturn]] void refuse(const std::string& what, const std::string& where, const std::string& why,
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

// The words that CLI11 could not place.
[[noreturn]] void refuse_extra(const CLI::App& app, const CLI::App* verb,
                               const std::vector<std::string>& words) {
    const std::string word = (verb ? verb->remaining() : app.remaining()).at(0);
    const bool option = word.starts_with('-');
    const std::string name = option ? word.substr(0, word.find('=')) : word;
    const bool searched = option || !verb || word.find('=') != std::string::npos;
    const std::string close = searched ? meant(verb, word, words) : "";
    const std::string help = verb ? "onecycle " + verb->get_name() + " --help" : "onecycle --help";
    const std::string fix = advice(close, help + " lists them all");
    if (option)
        refuse("unknown option", name, verb ? verb->get_name() + " has no such option" : "not known", fix);
    if (!verb) refuse("unknown verb", word.empty() ? "''" : word, "not known", fix);
    refuse("unexpected argument", word, verb->get_name() + " takes no further argument",
           close.empty() ? "leave it out; " + help + " shows the form" : fix);
}

// Options as other programs write them, as in size=64, would be taken for folders.
void refuse_named_values(const CLI::App& verb, const std::vector<std::string>& words) {
    for (std::size_t i = 1; i < words.size(); ++i) {
        const std::string& word = words[i];
        const std::size_t equals = word.find('=');
        if (equals == std::string::npos || word[0] == '-' || words[i - 1][0] == '-' ||
            word.find('/') < equals || std::filesystem::exists(word))
            continue;
        const std::string close = meant(&verb, word, words);
        if (!close.empty()) refuse("unexpected argument", word, "options begin with --", advice(close, ""));
    }
}

// Reads the command line and runs its verb.
int run(const std::vector<std::string>& words) {
    CLI::App app("Finds the learning rate, then trains an image classifier on a folder of images.",
                 "onecycle");
    app.formatter(std::make_shared<HelpFormatter>());
    app.set_help_flag("-h,--help", "show this help");
    app.set_version_flag("--version", "onecycle " ONECYCLE_VERSION, "show the version");
    app.get_formatter()->label("SUBCOMMAND", "VERB");
    app.get_formatter()->label("Subcommands", "Verbs");
    app.get_formatter()->label("OPTIONS", "options");
    app.footer(
        "First steps:\n"
        "  onecycle find photos/                           # which learning rate?\n"
        "  onecycle train photos/                          # find it, then train\n"
        "  onecycle predict cat.jpg --model runs/photos    # use what was trained\n"
        "\n`photos/` holds a folder of images for each class. `onecycle VERB --help` tells more.");
    app.require_subcommand(1);

    const auto first = std::find_if(words.begin(), words.end(), [](const auto& w) { return w[0] != '-'; });
    const std::string verb_word = first == words.end() ? "" : *first;
    std::vector<std::unique_ptr<Verb>> made;
    std::vector<Arguments> arguments;
    for (const VerbEntry& entry : verbs) {
        CLI::App* sub = app.add_subcommand(entry.name, entry.summary);
        made.push_back(entry.make());
        arguments.emplace_back(*sub);
        // Only the verb that is meant: it may read a file for its defaults.
        if (entry.name != verb_word) continue;
        made.back()->declare(arguments.back(), words);
        refuse_named_values(*sub, words);
    }

    const auto chosen = [&]() -> const CLI::App* {
        const auto subs = app.get_subcommands();
        return subs.empty() ? nullptr : subs.front();
    };
    try {
        app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // CLI11 takes them reversed
    } catch (const CLI::CallForHelp&) {
        Console({}).result(app.help());
        return 0;
    } catch (const CLI::CallForVersion& version) {
        Console({}).result(std::string(version.what()) + "\n");
        return 0;
    } catch (const CLI::ExtrasError&) {
        refuse_extra(app, chosen(), words);
    } catch (const CLI::RequiredError&) {
        if (!words.empty()) refuse_extra(app, nullptr, words);
        refuse("no verb", "onecycle", "nothing was asked for", "onecycle --help lists the verbs");
    } catch (const CLI::ArgumentMismatch& mismatch) {
        const std::string text = mismatch.what();
        refuse("bad option", text.substr(0, text.find(':')), "it needs exactly one value",
               "give one after it");
    } catch (const CLI::ParseError& error) {
        refuse("bad command line", chosen() ? chosen()->get_name() : "onecycle", error.what(),
               "--help shows the form");
    }
    const auto index = static_cast<std::size_t>(
        std::find_if(std::begin(verbs), std::end(verbs),
                     [&](const VerbEntry& entry) { return chosen()->get_name() == entry.name; }) -
        std::begin(verbs));
    Console console(made[index]->console_options());
    const int code = made[index]->run(arguments[index], console);
    console.end_progress();
    return code;
}

}  // namespace

}  // namespace onecycle::cli

namespace {

// OpenMP's threads wait for each other by spinning for milliseconds. That is fine on an idle machine, but
// where the loader's threads or other programs need a core, a step takes up to ten times as long. libgomp
// reads how long to spin only when it is loaded, so the program sets it and starts itself once more.
void spin_briefly(char** argv) {
    if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", "10000", 1) == 0) execv("/proc/self/exe", argv);
    // Where that fails, all works as before, only slower under load.
}

// A standard stream that was closed before the start would lend its number to the next file that is opened,
// and the report would go into that file. What stands in for it takes no bytes: writing fails as before.
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
    spin_briefly(argv);
    const auto fail = [](const std::string& line, int code) {
        cli::Console({}).warn("error: " + line);
        return code;
    };
    try {
        return cli::run(std::vector<std::string>(argv + 1, argv + argc));
    } catch (const Error& error) {
        return fail(error.what(), error.exit_code());
    } catch (const Interrupted& interrupted) {
        return 128 + interrupted.signal;
    } catch (const std::bad_alloc&) {
        const Error error(ErrorKind::io, "out of memory", "onecycle", "the machine has no more to give",
                          "use a smaller --batch-size or --size");
        return fail(error.what(), error.exit_code());
    } catch (const std::exception& unexpected) {
        const Error error(ErrorKind::io, "unexpected failure", "onecycle", unexpected.what(),
                          "this is a fault of the program: please report it");
        return fail(error.what(), error.exit_code());
    }
}
