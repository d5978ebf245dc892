#include "formats/weights_recipe.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "onecycle/error.h"

namespace onecycle {
namespace {

std::string command(const std::string& program, const std::string& path) {
    return "python3 -c \"" + program + "\" " + shell_word(path) +
           " model.safetensors, then use model.safetensors";
}

// Every dictionary in `o`, that of a module in place of the module.
constexpr const char* walk =
    "w = lambda o, d=0: [] if d > 4 else w(o.state_dict(), d) if hasattr(o, 'state_dict') else [o] + "
    "[x for v in o.values() for x in w(v, d + 1)] if isinstance(o, dict) else "
    "[x for v in o for x in w(v, d + 1)] if isinstance(o, (list, tuple)) else w(vars(o), d + 1) if "
    "hasattr(o, '__dict__') and not torch.is_tensor(o) else []; ";
// Of those the one that looks most like a network, as tensors.
constexpr const char* save =
    "t = lambda v: torch.is_tensor(v) or hasattr(v, '__array__'); "
    "safetensors.torch.save_file({k: torch.as_tensor(v).detach().clone().contiguous() for k, v in "
    "max(w(m), key=n).items() if t(v)}, sys.argv[2])";

}  // namespace

std::string shell_word(const std::string& text) {
    const auto plain = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80 ||
               std::string_view("/._-+,:@%=").find(c) != std::string_view::npos;
    };
    const std::string shown = printable(text);
    if (!shown.empty() && std::all_of(shown.begin(), shown.end(), plain)) return shown;
    std::string word = "'";
    for (const char c : shown) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return word + "'";
}

std::string convert(const std::string& path, const std::string& load,
                    const std::vector<NetworkMarks>& marks) {
    std::vector<std::string> names;
    for (const NetworkMarks& known : marks)
        if (std::ranges::find(names, known.second) == names.end()) names.push_back(known.second);
    std::string order = "n = lambda m: (any(str(k).endswith((";
    for (const std::string& name : names) order += "'" + name + "', ";
    order += ")) for k in m), len(m)); ";
    return "if you trust it, for this runs it: " +
           command("import sys, pickle, torch, safetensors.torch; m = " + load + "; " + walk + order + save,
                   path);
}

std::string convert_torchscript(const std::string& path) {
    return "take the weights out of it: " +
           command(
               "import sys, torch, safetensors.torch; safetensors.torch.save_file({k: v.clone().contiguous() "
               "for k, v in torch.jit.load(sys.argv[1], map_location='cpu').state_dict().items()}, "
               "sys.argv[2])",
               path);
}

std::string keep_one(const std::string& path, std::string load, const std::vector<std::string>& keys,
                     const std::string& prefix) {
    std::vector<std::string> all = keys;
    all.push_back(prefix);
    for (const std::string& text : all)  // what a shell or Python would take for more than a text
        for (const char c : text)
            if (!std::isalnum(static_cast<unsigned char>(c)) &&
                std::string_view("_-.").find(c) == std::string::npos)
                return "give a file with one of them alone";
    for (const std::string& key : keys) load += "['" + key + "']";
    return "keep one of them, this for example: " +
           command("import sys, torch, safetensors.torch; m = " + load +
                       "; safetensors.torch.save_file({k: v.detach().clone().contiguous() for k, v in "
                       "m.items() if "
                       "torch.is_tensor(v)" +
                       (prefix.empty() ? "" : " and k.startswith('" + prefix + "')") + "}, sys.argv[2])",
                   path);
}

}  // namespace onecycle
