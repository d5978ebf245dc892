#include "train/class_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/echoed.h"
#include "core/file.h"
#include "onecycle/error.h"

namespace onecycle {

namespace {

constexpr std::uint64_t most_bytes = 64 << 20;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
char small(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string_view trimmed(std::string_view line) {
    constexpr std::string_view blanks = " \t\r\v\f";
    const std::size_t first = line.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return line.substr(first, line.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string> lines_of(std::string_view text) {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        lines.emplace_back(trimmed(text.substr(0, end)));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    return lines;
}

}  // namespace

std::vector<std::string> read_class_names(const std::string& path) {
    return parse_class_names(read_file(posix_file_system(), path, ErrorKind::io, most_bytes), path);
}

std::vector<std::string> parse_class_names(std::string_view text, const std::string& path) {
    const auto refuse = [&](const std::string& where, const std::string& why, const std::string& fix) {
        throw Error(ErrorKind::data, "cannot read the names of classes", where, why, fix);
    };
    const std::vector<std::string> names = lines_of(text);
    if (names.empty()) refuse(path, "the file is empty", "write a name a line, in the model's order");
    std::map<std::string, std::size_t> line_of;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const std::string where = fmt::format("{} line {}", path, i + 1);
        if (names[i].empty())
            refuse(where, "it is empty, and every line is a class",
                   "give the class a name, or take the line out");
        if (printable(names[i]) != names[i])
            refuse(where, "it is not UTF-8 text", "save the file as UTF-8 text, a name a line");
        const auto [first, is_new] = line_of.emplace(names[i], i + 1);
        if (!is_new)
            refuse(where, fmt::format("\"{}\" stands in line {} too", names[i], first->second),
                   "give every class a name of its own");
    }
    return names;
}

ModelInfo with_class_names(ModelInfo info, const std::string& path) {
    std::vector<std::string> names = read_class_names(path);
    const auto refuse = [&](const std::string& why, const std::string& fix) {
        throw Error(ErrorKind::model, "the names do not fit the model", path, why, fix);
    };
    if (info.backbone())
        refuse("the model has no classifier whose classes they could name", "leave --classes out");
    if (names.size() != static_cast<std::size_t>(info.class_count))
        refuse(fmt::format("it has {} names, {} has {} classes", names.size(), info.path, info.class_count),
               "write a name a line for each of the model's classes, in its order");
    if (info.named && info.classes != names)
        refuse(fmt::format("the model names its classes itself ({})", first_names(info.classes)),
               "leave --classes out");
    info.classes = std::move(names);
    info.named = true;
    return info;
}

bool natural_less(const std::string& a, const std::string& b) {
    std::size_t i = 0, j = 0;
    while (i < a.size() && j < b.size()) {
        if (is_digit(a[i]) && is_digit(b[j])) {
            const auto number = [](const std::string& text, std::size_t& at) {
                while (at < text.size() && text[at] == '0') ++at;
                const std::size_t first = at;
                while (at < text.size() && is_digit(text[at])) ++at;
                return text.substr(first, at - first);
            };
            const std::string x = number(a, i), y = number(b, j);
            if (x.size() != y.size()) return x.size() < y.size();
            if (x != y) return x < y;
            continue;
        }
        if (small(a[i]) != small(b[j]))
            return static_cast<unsigned char>(small(a[i])) < static_cast<unsigned char>(small(b[j]));
        ++i, ++j;
    }
    if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
    return a < b;
}

void say_assumed_order(const ModelInfo& info, const std::vector<std::string>& classes, const LogSink& log) {
    if (!log) return;
    log(LogLevel::info, fmt::format("{} names no classes: its {} are taken for the folder's in the order of "
                                    "their bytes, as torchvision "
                                    "sorts them ({}); --classes FILE names them otherwise",
                                    echoed(info.path), info.class_count, first_names(classes)));
    for (std::size_t c = 0; c + 1 < classes.size(); ++c)
        if (natural_less(classes[c + 1], classes[c])) {
            log(LogLevel::warning,
                fmt::format(
                    "in that order '{}' stands before '{}', which other programs sort the other way round: "
                    "where "
                    "the model was trained with such an order these results are wrong; give its order with "
                    "--classes FILE",
                    echoed(classes[c]), echoed(classes[c + 1])));
            return;
        }
}

std::string first_names(const std::vector<std::string>& names) {
    constexpr std::size_t shown = 3;
    std::string text;
    for (std::size_t i = 0; i < std::min(shown, names.size()); ++i)
        text += (i ? ", " : "") + echoed(names[i]);
    if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
    return text;
}

}  // namespace onecycle
