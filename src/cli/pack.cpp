// onecycle pack: a folder of images into shards.
#include "data/pack.h"

#include <fmt/format.h>

#include <optional>

#include "cli/image_progress.h"
#include "cli/json.h"
#include "cli/training_options.h"
#include "cli/verb.h"
#include "core/echoed.h"
#include "core/shell_quoted.h"
#include "core/signals.h"
#include "onecycle/error.h"
#include "train/engine.h"

namespace onecycle::cli {

namespace {

class Pack : public Verb {
  public:
    void declare(Arguments& a, const std::vector<std::string>&) override {
        a.positional("DATA", data_, "the folder of images, or shards of them (.tar)");
        a.text("-o,--out", "DIR", out_,
               "the folder to make; one that an earlier pack of the same was stopped in is gone on with");
        a.whole("--size", size_,
                "make images smaller whose short side is longer, to so many pixels: as JPEG");
        a.whole("--quality", pack_.quality, "of images that are made smaller: 1 to 100");
        a.value("--shard-size", "BYTES", "512M", "no shard is larger; K, M and G are KiB, MiB and GiB",
                [this](const std::string& text) { pack_.shard_bytes = parse_bytes("--shard-size", text); });
        a.group("Images");
        a.text("--valid", "DIR", images_.valid_dir, "the evaluation images, when they are elsewhere");
        declare_reading(a, images_.exclude, images_.labels, images_.label_from);
        declare_bad_images(a, images_.bad_images, images_.max_bad);
        declare_image_limits(a, images_.max_pixels, images_.decode_memory);
        a.group("Work");
        a.whole("--threads", threads_, "0: all cores; the shards are the same for any number");
        declare_console_options(a, console_options_, true);
    }

    int run(const Arguments&, Console& console) override {
        require_data(data_, "pack");
        if (out_.empty())
            throw Error(ErrorKind::usage, "missing option", "-o", "pack needs a folder to make",
                        "onecycle pack " + shell_quoted(data_) + " -o shards/");
        while (out_.size() > 1 && out_.back() == '/') out_.pop_back();
        if (size_ && *size_ < 1)
            throw Error(ErrorKind::usage, "bad option", fmt::format("--size {}", *size_),
                        "it must lie between 1 and 65535", "256 is usual");
        pack_.size = size_.value_or(0);
        check_pack_options(pack_);
        check_pack_folder(out_);
        SignalGuard guard;
        guard.answer(console.stop_answer("Stopping. The same command goes on with what is left."));
        images_.use = DatasetUse::everything;
        images_.valid_fraction = 0;
        images_.threads = pack_.threads = worker_threads(threads_);
        images_.stop = pack_.stop = stop_signal;
        images_.log = pack_.log = console.log();
        images_.index_folder = "";
        pack_.bad_images = images_.bad_images;
        images_.progress = look_progress(console);
        const Dataset dataset = open_dataset(data_, images_);
        const std::int64_t all = std::ssize(dataset.train) + std::ssize(dataset.valid);
        ImageProgress progress(console, "pack", all);
        pack_.progress = [&](std::int64_t images) { progress.done(images); };
        const PackResult result = pack_images(dataset, out_, pack_);
        console.end_progress();
        if (console.json()) {
            console.result(to_json(result, out_, dataset.classes.size(), dataset.bad));
            return 0;
        }
        console.say(fmt::format("{}: {} images of {} classes in {} shards, {:.1f} MB", echoed(out_),
                                result.images, dataset.classes.size(), result.shards.size(),
                                static_cast<double>(result.bytes) / 1e6));
        if (result.kept_from_before > 0)
            console.say(fmt::format("{} of them were packed before.", result.kept_from_before));
        return 0;
    }

  private:
    std::string data_, out_;
    int threads_ = 0;
    std::optional<int> size_;
    DatasetOptions images_;
    PackOptions pack_;
};

}  // namespace

std::unique_ptr<Verb> make_pack() {
    return std::make_unique<Pack>();
}

}  // namespace onecycle::cli
