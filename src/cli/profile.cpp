// onecycle profile: what each operation of a training step costs, beside what the hardware allows.
#include "train/profile.h"

#include <fmt/format.h>

#include <cmath>

#include "cli/json.h"
#include "cli/training_options.h"
#include "cli/verb.h"
#include "onecycle/error.h"
#include "report/access_counts_text.h"
#include "report/profile_text.h"
#include "report/ranks_text.h"
#include "train/access_counts.h"

namespace onecycle::cli {

namespace {

[[noreturn]] void refuse(const std::string& option, const std::string& why, const std::string& fix) {
    throw Error(ErrorKind::usage, "bad option", option, why, fix);
}

// "4300,790": GB/s and TFLOP/s.
Limits parse_limits(const std::string& text) {
    const std::size_t comma = text.find(',');
    const std::string limits_form = "give GB/s and TFLOP/s, as --limits 4300,790";
    if (comma == std::string::npos) refuse("--limits " + text, "it is not two numbers", limits_form);
    const Limits limits{1e9 * parse_number("--limits", text.substr(0, comma)),
                        1e12 * parse_number("--limits", text.substr(comma + 1)), "as given"};
    if (!(limits.bytes_per_second > 0 && limits.flops_per_second > 0))
        refuse("--limits " + text, "both must be above 0", limits_form);
    return limits;
}

std::vector<std::string> parts_of(const std::string& text) {
    std::vector<std::string> parts(1);
    for (const char c : text)
        if (c == ',')
            parts.emplace_back();
        else
            parts.back() += c;
    return parts;
}

// "8,64,1024"
std::vector<int> parse_ranks(const std::string& text) {
    std::vector<int> ranks;
    for (const std::string& part : parts_of(text)) {
        const double value = parse_number("--ranks", part);
        if (!(value >= 1 && value <= 65536 && value == std::floor(value)))
            refuse("--ranks " + text, "it is not a list of whole numbers from 1 to 65536",
                   "for example --ranks 8,64");
        ranks.push_back(static_cast<int>(value));
    }
    return ranks;
}

// "450,50", "450,50,2,5" or "450,50,2,5,1": GB/s in a node and between nodes, then microseconds: of a
// hop in each, and of a message.
void parse_links(const std::string& text, Links& links) {
    const std::vector<std::string> parts = parts_of(text);
    const std::string link_form = "give GB/s in a node and between nodes, as --link 450,50";
    if (parts.size() != 2 && parts.size() != 4 && parts.size() != 5)
        refuse("--link " + text, "it is not two, four or five numbers", link_form);
    std::vector<double> values;
    for (const std::string& part : parts) values.push_back(parse_number("--link", part));
    if (!(values[0] > 0 && values[1] > 0)) refuse("--link " + text, "both must be above 0", link_form);
    links.inside = 1e9 * values[0];
    links.between = 1e9 * values[1];
    if (parts.size() == 2) return;
    for (std::size_t i = 2; i < values.size(); ++i)
        if (!(values[i] >= 0)) refuse("--link " + text, "a hop and a message take 0 or more", link_form);
    links.inside_hop = 1e-6 * values[2];
    links.between_hop = 1e-6 * values[3];
    if (parts.size() == 5) links.message = 1e-6 * values[4];
}

ProfileRows parse_rows(const std::string& name) {
    if (name == "step") return ProfileRows::step;
    if (name == "shape") return ProfileRows::shape;
    if (name == "operation") return ProfileRows::operation;
    refuse("--by " + name, "there is no such choice", "use step, shape or operation");
}

class ProfileVerb : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        TrainOptions& train = options_.train;
        a.group("Step");
        a.text("--arch", "NAME", train.arch, architecture_names());
        a.value("--stem", "NAME", to_string(train.stem), "imagenet or small",
                [&train](const std::string& text) { train.stem = parse_stem(text); });
        a.value("--head", "NAME", to_string(train.head), "linear or fastai",
                [&train](const std::string& text) { train.head = parse_head(text); });
        a.text("--freeze", "WHAT", train.freeze, "none, body, or layer1 to layer4: up to there");
        a.flag("--freeze-bn", train.freeze_bn, "the frozen layers' batch norms, too");
        a.whole("--size", train.size, "pixels, square");
        a.whole("--classes", options_.classes, "outputs");
        a.whole("--batch-size", train.batch_size, "images per batch, made up and equal for every step");
        a.number("--mixup", train.mixup, "alpha; 0: off");
        a.number("--cutmix", train.cutmix, "alpha; 0: off");
        a.value("--optimizer", "NAME", to_string(train.optimizer), "sgd, adam, adamw, lars or lamb",
                [&train](const std::string& text) { train.optimizer = parse_optimizer(text); });

        a.group("Machine");
        a.text("--device", "NAME", train.device, "auto, cpu, cuda or emulated");
        a.text("--precision", "NAME", train.precision, "auto, fp32, tf32, bf16 or fp16");
        declare_steps(a, train.deterministic, train.no_graph);
        a.whole("--threads", train.threads, "0: all cores");
        a.whole("--steps", options_.repeats, "times each step is measured; the median counts");
        a.value("--limits", "GBPS,TFLOPS", "measured", "what the hardware allows: GB/s copied and TFLOP/s",
                [this](const std::string& text) { options_.limits = parse_limits(text); });
        a.text("--predict", "GPU", predict_,
               "run nothing: the least times on an h200 or h100, or with other --limits on another GPU");
        a.flag("--counts", counts_,
               "with --device emulated: what each kernel asks of memory, in place of times");

        a.group("Several GPUs, with --predict");
        a.value("--ranks", "N,N", "", "predict data-parallel training on so many GPUs",
                [this](const std::string& text) { scale_.ranks = parse_ranks(text); });
        a.value(
            "--link", "GBPS,GBPS", "450,50",
            "what a GPU sends in a node and between nodes, one way; then, if given, microseconds a hop in "
            "each, and a message",
            [this](const std::string& text) { parse_links(text, scale_.links); });
        a.whole("--ranks-per-node", scale_.links.node, "GPUs in a node");
        a.number("--cores", scale_.cores, "cores a GPU has for its input");
        a.number("--decode-rate", scale_.decode_rate,
                 "images/s that a core decodes from your files; 0: as was measured on JPEGs of 500 x 375 px");
        a.group("Table");
        a.value("--by", "ROWS", "step", "step, shape (equal ones share a row) or operation (only totals)",
                [this](const std::string& text) { rows_ = parse_rows(text); });
        a.flag("--slowest", slowest_first_, "the slowest first, not in the order of the program");
        declare_console_options(a, console_options_, true);
    }

    int run(const Arguments& a, Console& console) override {
        if (options_.repeats < 1 || options_.repeats > 100000)
            refuse("--steps " + std::to_string(options_.repeats), "it must be between 1 and 100000",
                   "5 is the default");
        if (options_.classes < 1 || options_.classes > 1'000'000)
            refuse("--classes " + std::to_string(options_.classes), "it must be between 1 and 1000000",
                   "10 is the default");
        const bool predict = a.given("--predict");
        if (predict) {
            if (a.given("--device"))
                refuse("--predict", "it takes no --device: nothing is run", "leave one of them out");
            if (counts_)
                refuse("--counts", "it runs the step, and --predict runs nothing", "leave one of them out");
            options_.train.device = "emulated";
        }
        check_scale(a);
        check(options_.train);
        if (counts_) {
            const AccessCounts counts = count_accesses(options_);
            console.result(console.json() ? to_json(counts) : access_counts_text(counts));
            return 0;
        }
        const Profile profile = predict ? prediction(1) : measure_profile(options_);
        const auto forecast =
            scale_.ranks.empty()
                ? std::nullopt
                : std::optional(forecast_ranks([this](int ranks) { return prediction(ranks); }, scale_));
        console.result(console.json() ? to_json(profile, forecast ? &*forecast : nullptr)
                                      : profile_text(profile, rows_, slowest_first_) +
                                            (forecast ? ranks_text(profile, *forecast) : ""));
        return 0;
    }

  private:
    void check_scale(const Arguments& a) const {
        for (const char* option : {"--link", "--ranks-per-node", "--cores", "--decode-rate"})
            if (a.given(option) && scale_.ranks.empty())
                refuse(option, "it speaks of several ranks", "add --ranks 8, or leave it out");
        if (!scale_.ranks.empty() && !a.given("--predict"))
            refuse("--ranks", "several ranks are predicted, not run", "add --predict h200");
        if (scale_.links.node < 1 || scale_.links.node > 1024)
            refuse(fmt::format("--ranks-per-node {}", scale_.links.node), "it must be between 1 and 1024",
                   "8 is the default");
        if (!(scale_.cores > 0 && std::isfinite(scale_.cores)))
            refuse(fmt::format("--cores {}", scale_.cores), "it must be above 0", "14 is the default");
        if (!(scale_.decode_rate >= 0 && std::isfinite(scale_.decode_rate)))
            refuse(fmt::format("--decode-rate {}", scale_.decode_rate), "it must be 0 (as measured) or more",
                   "leave it out");
    }

    Profile prediction(int ranks) const {
        ProfileOptions options = options_;
        options.ranks = ranks;
        options.two_levels = use_two_levels(scale_.links, ranks);
        if (options.limits) return predict_profile(options, *options.limits);
        if (options.train.precision == "fp32" || options.train.precision == "tf32")
            refuse("--precision " + options.train.precision, "only 16-bit limits of a GPU are known",
                   "name them: --limits GBPS,TFLOPS");
        return predict_profile(options, limits_of(predict_));
    }

    ProfileOptions options_;
    RanksOptions scale_;
    std::string predict_ = "h200";
    ProfileRows rows_ = ProfileRows::step;
    bool slowest_first_ = false, counts_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_profile() {
    return std::make_unique<ProfileVerb>();
}

}  // namespace onecycle::cli
