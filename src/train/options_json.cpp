// TrainOptions as config.json: one list of members serves writing, reading and comparing.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "onecycle/error.h"
#include "onecycle/options.h"
#include "train/options_record.h"

namespace onecycle {

namespace {

using Json = nlohmann::ordered_json;

// Written only where they are on.
constexpr const char *sync_batch_norm = "sync_batch_norm", *shares_member = "shares";

// Calls visit(name, member) for every option, in the order of the file.
template <class Options, class Visit>
void each_option(Options& o, Visit&& visit) {
    visit("data", o.data);
    visit("valid", o.valid);
    visit("valid_fraction", o.valid_fraction);
    visit("split_seed", o.split_seed);
    visit("exclude", o.exclude);
    visit("labels", o.labels);
    visit("label_from", o.label_from);
    visit("bad_images", o.bad_images);
    visit("max_bad", o.max_bad);
    visit("max_pixels", o.max_pixels);
    visit("arch", o.arch);
    visit("stem", o.stem);
    visit("zero_init_residual", o.zero_init_residual);
    visit("init", o.init);
    visit("init_ema", o.init_ema);
    visit("classes", o.classes);
    visit("head", o.head);
    visit("dropout", o.dropout);
    visit("size", o.size);
    visit("sizes", o.sizes);
    visit("augment", o.augment);
    visit("crop_pct", o.crop_pct);
    visit("mean", o.mean);
    visit("std", o.stddev);
    visit("batch_size", o.batch_size);
    visit("epochs", o.epochs);
    visit("max_lr", o.max_lr);
    visit("policy", o.policy);
    visit("pct_start", o.pct_start);
    visit("div", o.div);
    visit("final_div", o.final_div);
    visit("anneal", o.anneal);
    visit("three_phase", o.three_phase);
    visit("momentum", o.momentum);
    visit("optimizer", o.optimizer);
    visit("nesterov", o.nesterov);
    visit("beta2", o.beta2);
    visit("eps", o.eps);
    visit("weight_decay", o.weight_decay);
    visit("trust_coefficient", o.trust_coefficient);
    visit("decay_norm_and_bias", o.decay_norm_and_bias);
    visit("label_smoothing", o.label_smoothing);
    visit("mixup", o.mixup);
    visit("cutmix", o.cutmix);
    visit("class_weights", o.balanced_class_weights);
    visit("clip_norm", o.clip_norm);
    visit("accumulate", o.accumulate);
    visit("ranks", o.ranks);
    visit(sync_batch_norm, o.sync_batch_norm);
    visit(shares_member, o.shares);
    visit("ema", o.ema);
    visit("freeze", o.freeze);
    visit("freeze_bn", o.freeze_bn);
    visit("freeze_epochs", o.freeze_epochs);
    visit("lr_mult", o.lr_mult);
    visit("retest_lr", o.retest_lr);
    visit("seed", o.seed);
    visit("threads", o.threads);
    visit("device", o.device);
    visit("precision", o.precision);
    visit("input", o.input);
    visit("deterministic", o.deterministic);
    visit("no_graph", o.no_graph);
    visit("checkpoint_every", o.checkpoint_every);
    visit("save_errors", o.save_errors);
}

constexpr std::string_view class_weights = "class_weights", max_lr = "max_lr";
constexpr const char* split_seed = "split_seed";

// Each type's text form, for the option `name`.
struct Writer {
    std::string_view name;

    Json operator()(const std::string& value) const { return value; }
    Json operator()(double value) const { return value; }
    Json operator()(int value) const { return value; }
    Json operator()(std::int64_t value) const { return value; }
    Json operator()(std::uint64_t value) const { return value; }
    Json operator()(const std::array<double, 3>& value) const { return value; }
    Json operator()(bool value) const {
        if (name == class_weights) return value ? "balanced" : "none";
        return value;
    }
    Json operator()(const std::optional<double>& value) const {
        if (value) return *value;
        return name == max_lr ? Json("auto") : Json();
    }
    Json operator()(const std::optional<std::uint64_t>& value) const { return value ? Json(*value) : Json(); }
    Json operator()(const std::optional<MomentumRange>& value) const {
        if (!value) return {};
        if (value->low == value->high) return value->low;
        return fmt::format("{}:{}", value->low, value->high);
    }
    Json operator()(const std::optional<Anneal>& value) const {
        return value ? Json(*value == Anneal::cosine ? "cos" : "linear") : Json();
    }
    Json operator()(const std::vector<SizedEpochs>& value) const {
        return value.empty() ? Json() : Json(to_string(value));
    }
    Json operator()(const std::vector<std::string>& value) const { return value; }
    Json operator()(BadImages value) const { return value == BadImages::fail ? "fail" : "skip"; }
    Json operator()(Head value) const { return to_string(value); }
    Json operator()(SaveErrors value) const { return to_string(value); }
    Json operator()(Stem value) const { return to_string(value); }
    Json operator()(AugmentPolicy value) const { return to_string(value); }
    Json operator()(OptimizerKind value) const { return to_string(value); }
};

struct Reader {
    std::string_view name;
    const std::string& where;
    const Json& json;

    [[noreturn]] void refuse(const char* needed) const {
        throw Error(ErrorKind::usage, "cannot read options", where,
                    fmt::format("\"{}\" is {}, but must be {}", name, json.dump(), needed),
                    "put it right, or leave it out");
    }
    void need(bool ok, const char* needed) const {
        if (!ok) refuse(needed);
    }

    void operator()(std::string& value) const {
        need(json.is_string(), "text");
        value = json.get<std::string>();
    }
    void operator()(double& value) const {
        need(json.is_number(), "a number");
        value = json.get<double>();
    }
    void operator()(std::uint64_t& value) const {
        need(json.is_number_unsigned(), "a whole number");
        value = json.get<std::uint64_t>();
    }
    void operator()(std::int64_t& value) const {
        need(json.is_number_integer() &&
                 (json.is_number_unsigned() ? json.get<std::uint64_t>() >> 62 == 0 : true),
             "a whole number");
        value = json.get<std::int64_t>();
    }
    void operator()(int& value) const {
        std::int64_t wide = 0;
        (*this)(wide);
        need(wide == static_cast<int>(wide), "a smaller number");
        value = static_cast<int>(wide);
    }
    void operator()(bool& value) const {
        if (name == class_weights) {
            need(json == "balanced" || json == "none", "\"none\" or \"balanced\"");
            value = json == "balanced";
            return;
        }
        need(json.is_boolean(), "true or false");
        value = json.get<bool>();
    }
    void operator()(std::array<double, 3>& value) const {
        need(json.is_array() && json.size() == 3 && json[0].is_number() && json[1].is_number() &&
                 json[2].is_number(),
             "three numbers");
        value = json.get<std::array<double, 3>>();
    }
    void operator()(std::optional<double>& value) const {
        value.reset();
        if (json.is_null() || (name == max_lr && json == "auto")) return;
        value.emplace();
        (*this)(*value);
    }
    void operator()(std::optional<std::uint64_t>& value) const {
        value.reset();
        if (!json.is_null()) (*this)(value.emplace());
    }
    void operator()(std::optional<MomentumRange>& value) const {
        value.reset();
        if (json.is_null()) return;
        need(json.is_number() || json.is_string(), "a number or \"LOW:HIGH\"");
        value = parsed(parse_momentum,
                       json.is_string() ? json.get<std::string>() : fmt::format("{}", json.get<double>()));
    }
    void operator()(std::optional<Anneal>& value) const {
        value.reset();
        if (json.is_null()) return;
        value = parsed(parse_anneal, text());
    }
    void operator()(std::vector<SizedEpochs>& value) const {
        value.clear();
        if (!json.is_null()) value = parsed(parse_sizes, text());
    }
    void operator()(std::vector<std::string>& value) const {
        const bool texts = json.is_array() && std::all_of(json.begin(), json.end(),
                                                          [](const Json& item) { return item.is_string(); });
        need(texts, "a list of texts");
        value = json.get<std::vector<std::string>>();
    }
    void operator()(BadImages& value) const { value = parsed(parse_bad_images, text()); }
    void operator()(Head& value) const { value = parsed(parse_head, text()); }
    void operator()(SaveErrors& value) const { value = parsed(parse_save_errors, text()); }
    void operator()(Stem& value) const { value = parsed(parse_stem, text()); }
    void operator()(AugmentPolicy& value) const { value = parsed(parse_augment, text()); }
    void operator()(OptimizerKind& value) const { value = parsed(parse_optimizer, text()); }

    // What the option itself takes; its own refusal would not name the file.
    template <class Value>
    Value parsed(Value (*parse)(const std::string&), const std::string& word) const {
        try {
            return parse(word);
        } catch (const Error&) {
            refuse("a value that the option takes (onecycle train --help)");
        }
    }

    std::string text() const {
        std::string value;
        (*this)(value);
        return value;
    }
};

Json as_json(const TrainOptions& options) {
    Json json = Json::object();
    each_option(options, [&](const char* name, const auto& member) { json[name] = Writer{name}(member); });
    if (!options.split_seed) json.erase(split_seed);  // of a program's own data set alone
    if (!options.sync_batch_norm) json.erase(sync_batch_norm);
    if (options.shares <= 1) json.erase(shares_member);
    return json;
}

}  // namespace

std::string to_json(const TrainOptions& options) {
    try {
        return as_json(options).dump(2) + "\n";
    } catch (const Json::type_error&) {
        throw Error(ErrorKind::usage, "cannot write options", printable(options.data),
                    "the path is not UTF-8 text, which config.json needs", "rename the folder");
    }
}

TrainOptions train_options_from_json(const std::string& text, const std::string& where) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object())
        throw Error(ErrorKind::usage, "cannot read options", where, "it is not a JSON object",
                    "give a run's config.json");
    TrainOptions options;
    std::set<std::string_view> known{dataset_member};
    each_option(options, [&](const char* name, auto& member) {
        known.insert(name);
        if (json.contains(name)) Reader{name, where, json[name]}(member);
    });
    for (const auto& [name, value] : json.items())
        if (!known.count(name))
            throw Error(ErrorKind::usage, "cannot read options", where,
                        "there is no option \"" + printable(name) + '"', "leave it out");
    if (!options.sizes.empty() && !json.contains("size")) options.size = options.sizes.back().size;
    if (!options.sizes.empty() && !json.contains("epochs")) {
        options.epochs = 0;
        for (const SizedEpochs& part : options.sizes) options.epochs += part.epochs;
    }
    return options;
}

namespace {

// The members whose values differ, as options.
std::vector<std::string> differences(const Json& before, const Json& after) {
    std::vector<std::string> changed;
    for (const auto& [name, value] : before.items()) {
        if (after.contains(name) && after[name] == value) continue;
        std::string option = "--" + name;
        std::replace(option.begin(), option.end(), '_', '-');
        changed.push_back(option);
    }
    if (after.contains(sync_batch_norm) && !before.contains(sync_batch_norm))
        changed.push_back("--sync-batch-norm");
    if (after.contains(shares_member) && !before.contains(shares_member)) changed.push_back("--shares");
    return changed;
}

Json without(Json json, std::initializer_list<const char*> names) {
    for (const char* name : names) json.erase(name);
    return json;
}

// Without what cannot change the result, or is guarded by the digest of the list of images. How the
// batches of an update are spread over ranks cannot, unless batch norms see all of them.
Json result_options(TrainOptions options) {
    options.accumulate = static_cast<int>(batches_per_update(options));
    Json json = as_json(options);
    if (options.sync_batch_norm && options.ranks > 1)
        json[sync_batch_norm] = options.ranks;
    else
        json.erase(sync_batch_norm);
    return without(std::move(json), {"ranks", "data", "valid", split_seed, "exclude", "labels", "label_from",
                                     "bad_images", "max_bad", "max_pixels", "threads", "input", "cache",
                                     "checkpoint_every", "save_errors", "deterministic", "no_graph"});
}

}  // namespace

std::vector<std::string> changed_options(const TrainOptions& before, const TrainOptions& after) {
    return differences(result_options(before), result_options(after));
}

std::string options_record(const TrainOptions& options) {
    return without(result_options(options), {"init", "init_ema", "classes"}).dump();
}

std::vector<std::string> differences_from_record(const std::string& record, const TrainOptions& options) {
    Json before = Json::parse(record, nullptr, false);
    if (!before.is_object()) return {"all options"};
    before.erase("input");  // records of earlier versions have it
    return differences(before, Json::parse(options_record(options)));
}

double max_lr_of_record(const std::string& record) {
    const Json json = Json::parse(record, nullptr, false);
    return json.is_object() && json.contains("max_lr") && json["max_lr"].is_number()
               ? json["max_lr"].get<double>()
               : 0;
}

std::string to_json_list(const std::vector<std::string>& texts) {
    return Json(texts).dump();
}

std::vector<std::string> from_json_list(const std::string& text) {
    const Json json = Json::parse(text, nullptr, false);
    std::vector<std::string> texts;
    if (!json.is_array()) return texts;
    for (const Json& item : json)
        if (item.is_string()) texts.push_back(item.get<std::string>());
    return texts;
}

}  // namespace onecycle
