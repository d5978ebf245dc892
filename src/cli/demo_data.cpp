// onecycle demo-data: a small image folder to try things on.
#include "onecycle/demo_data.h"

#include <fmt/format.h>

#include "cli/verb.h"
#include "core/echoed.h"
#include "core/signals.h"
#include "onecycle/error.h"

namespace onecycle::cli {

namespace {

class DemoData : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("DIR", dir_, "the folder to make");
        a.whole("--classes", options_.classes, fmt::format("2 to {}", demo_class_limit()));
        a.whole("--images", options_.images_per_class, "images of each class");
        a.whole("--size", options_.size, "pixels; images vary around it");
        a.whole("--seed", options_.seed, "another seed gives other images");
        declare_console_options(a, console_options_, false);
    }

    int run(const Arguments&, Console& console) override {
        if (dir_.empty())
            throw Error(ErrorKind::usage, "missing argument", "DIR", "demo-data needs a folder to make",
                        "onecycle demo-data demo/");
        SignalGuard guard;
        guard.answer(console.stop_answer("Stopping. What was made is removed."));
        options_.stop = stop_signal;
        const auto images = make_demo_data(dir_, options_);
        console.say(fmt::format("{}: {} images of {} classes", echoed(dir_), images, options_.classes));
        return 0;
    }

  private:
    std::string dir_;
    DemoOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_demo_data() {
    return std::make_unique<DemoData>();
}

}  // namespace onecycle::cli
