#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include "data/kept_images.h"
#include "onecycle/error.h"
#include "rules/sample_order.h"

namespace onecycle {

namespace {

constexpr std::chrono::milliseconds between_questions{20};

// A batch in the making.
struct Slot {
    Batch batch;
    int remaining = 0;         // images not yet made
    std::exception_ptr error;  // of the earliest position that failed
    int error_position = 0;
};

// One image to make.
struct Ticket {
    Slot* slot = nullptr;
    int position = 0;
};

void check_range(bool in_range, const char* option, const char* why) {
    if (!in_range) throw Error(ErrorKind::usage, "value out of range", option, why);
}

}  // namespace

std::size_t batches_ahead(const LoaderOptions& options) {
    constexpr std::size_t most = 16;
    const auto size = static_cast<std::size_t>(options.size);
    return std::clamp<std::size_t>(
        options.queue_bytes / (3 * size * size * static_cast<std::size_t>(options.batch_size)), 2, most);
}

struct Loader::Impl {
    Impl(std::vector<Sample> list, const LoaderOptions& wanted) : samples(std::move(list)), options(wanted) {
        if (!options.training) options.augment = AugmentPolicy::none;
        if (!options.kept)
            options.kept = std::make_shared<KeptImages>(
                KeptRule{.size = options.size, .augment = options.augment, .crop_pct = options.crop_pct},
                options.cache_bytes, nullptr, options.decode_budget);
        slots.resize(batches_ahead(options));
        free_slots.reserve(slots.size());
        in_the_making.reserve(slots.size());
    }

    // --- what a step holds: pure functions ---

    std::size_t image_bytes() const { return static_cast<std::size_t>(options.size) * options.size * 3; }
    std::size_t batch_bytes() const { return image_bytes() * static_cast<std::size_t>(options.batch_size); }
    std::int64_t sample_count() const { return static_cast<std::int64_t>(samples.size()); }

    SampleOrder order() const {
        return {.seed = options.seed,
                .purpose = options.order,
                .samples = sample_count(),
                .batch = options.batch_size,
                .batches_per_update = options.batches_per_update,
                .shares = options.shares};
    }

    std::int64_t batches_per_epoch() const {
        if (options.training) return order().batches_per_epoch();
        return (sample_count() + options.batch_size - 1) / options.batch_size;
    }

    // The samples that batches like this one are drawn from.
    std::int64_t drawn_from(std::int64_t step) const { return order().samples_in(order().share_of(step)); }

    int count_of(std::int64_t step) const {
        const std::int64_t left = options.training
                                      ? drawn_from(step)
                                      : sample_count() - step % batches_per_epoch() * options.batch_size;
        return static_cast<int>(std::min<std::int64_t>(options.batch_size, left));
    }

    std::int64_t sample_at(std::int64_t step, int position, std::int64_t turn = 0) const {
        if (options.training) return order().sample_at(step, position, turn);
        return step % batches_per_epoch() * options.batch_size + position;
    }

    // --- making one image ---

    // What the image's view is cut from, or null: then it was taken note of.
    std::shared_ptr<const Image> usable_source(std::int64_t id, std::int64_t step) {
        return usable_image(*options.kept, options.faults.get(), options.training, step, id,
                            samples[static_cast<std::size_t>(id)]);
    }

    void make(const Ticket& ticket) {
        Batch& batch = ticket.slot->batch;
        const auto position = static_cast<std::size_t>(ticket.position);
        const std::int64_t place = sample_at(batch.step, ticket.position);
        std::int64_t id = place;
        std::shared_ptr<const Image> image = usable_source(id, batch.step);
        for (std::int64_t turn = 1; options.training && image == nullptr; ++turn) {
            if (turn == drawn_from(batch.step))
                throw UnusableImage(samples[static_cast<std::size_t>(place)].path(),
                                    "nor can any other training image be used", "");
            id = sample_at(batch.step, ticket.position, turn);
            image = usable_source(id, batch.step);
        }
        batch.sample_ids[position] = image ? id : -1;
        if (image == nullptr) return;
        const ViewKey key{options.seed, batch.epoch, static_cast<std::uint64_t>(place)};
        const Image view = training_view(*image, options.augment, options.size, options.crop_pct, key);
        std::copy(view.rgb.begin(), view.rgb.end(),
                  batch.pixels.begin() + static_cast<std::ptrdiff_t>(position * image_bytes()));
        batch.labels[position] = samples[static_cast<std::size_t>(id)].label;
    }

    // Closes the gaps that images left which an evaluation goes without.
    void close_gaps(Batch& batch) const {
        int filled = 0;
        for (int k = 0; k < batch.count; ++k) {
            const auto from = static_cast<std::size_t>(k), to = static_cast<std::size_t>(filled);
            if (batch.sample_ids[from] < 0) continue;
            ++filled;
            if (from == to) continue;
            std::copy_n(&batch.pixels[from * image_bytes()], image_bytes(),
                        &batch.pixels[to * image_bytes()]);
            batch.labels[to] = batch.labels[from];
            batch.sample_ids[to] = batch.sample_ids[from];
        }
        batch.count = filled;
    }

    // Makes the image of a ticket without the lock, and counts it off.
    void serve(const Ticket& ticket, std::unique_lock<std::mutex>& lock) {
        lock.unlock();
        std::exception_ptr error;
        try {
            make(ticket);
        } catch (...) {
            error = std::current_exception();
        }
        lock.lock();
        Slot& slot = *ticket.slot;
        if (error != nullptr && (slot.error == nullptr || ticket.position < slot.error_position)) {
            slot.error = error;
            slot.error_position = ticket.position;
        }
        if (--slot.remaining == 0) batch_done.notify_all();
    }

    // Before the threads start, as what they asked for in vain would end the program. Few batches need
    // few slots.
    void take_slots(std::int64_t steps) {
        free_slots.clear();
        in_the_making.clear();
        for (Slot& slot : slots) {
            if (std::ssize(free_slots) == (steps + options.ranks - 1) / options.ranks) break;
            slot.batch.pixels.resize(batch_bytes());  // allocates the first time only
            slot.batch.labels.resize(static_cast<std::size_t>(options.batch_size));
            slot.batch.sample_ids.resize(static_cast<std::size_t>(options.batch_size));
            free_slots.push_back(&slot);
        }
    }

    // --- handing out work: all with the lock held, and without a need for memory ---

    bool can_issue() const { return issue_step < last_step && (issue_position > 0 || !free_slots.empty()); }

    Ticket issue() {
        if (issue_position == 0) begin_batch();
        const Ticket ticket{in_the_making.back(), issue_position};
        if (++issue_position == ticket.slot->batch.count) {
            issue_position = 0;
            issue_step += options.ranks;
        }
        return ticket;
    }

    void begin_batch() {
        Slot& slot = *free_slots.back();
        free_slots.pop_back();
        in_the_making.push_back(&slot);
        Batch& batch = slot.batch;
        batch.step = issue_step;
        batch.epoch = static_cast<std::uint32_t>(issue_step / batches_per_epoch());
        batch.count = count_of(issue_step);
        batch.size = options.size;
        slot.remaining = batch.count;
        slot.error = nullptr;
    }

    void run_worker() {
        std::unique_lock lock(mutex);
        for (;;) {
            work_there.wait(lock, [&] { return stopping || issue_step >= last_step || can_issue(); });
            if (stopping || issue_step >= last_step) return;
            serve(issue(), lock);
        }
    }

    // The next step's, with its images or an error; null after the last or when `stop` says so.
    Slot* next_slot(const std::function<int()>& stop) {
        std::unique_lock lock(mutex);
        if (next_step >= last_step) return nullptr;
        for (;;) {
            if (stop && stop() != 0) return nullptr;
            if (issue_step == next_step && can_issue()) {
                serve(issue(), lock);
                continue;
            }
            if (in_the_making.empty()) throw std::logic_error("Loader::next: every batch is still held");
            if (in_the_making.front()->remaining == 0) break;
            if (stop)
                batch_done.wait_for(lock, between_questions);
            else
                batch_done.wait(lock);
        }
        Slot* const slot = in_the_making.front();
        in_the_making.erase(in_the_making.begin());
        next_step += options.ranks;
        return slot;
    }

    void give_back(const Batch* batch) {
        for (Slot& slot : slots)
            if (&slot.batch == batch) {
                const std::lock_guard lock(mutex);
                free_slots.push_back(&slot);
            }
        work_there.notify_all();
    }

    const std::vector<Sample> samples;
    LoaderOptions options;
    std::deque<Slot> slots;  // fixed after construction

    std::mutex mutex;
    std::condition_variable work_there, batch_done;
    std::vector<Slot*> free_slots;
    std::vector<Slot*> in_the_making;  // in the order of steps
    std::int64_t next_step = 0;        // that next() will give
    std::int64_t issue_step = 0, last_step = 0;
    int issue_position = 0;
    bool stopping = false;
    std::vector<std::thread> threads;
};

Loader::Loader(std::vector<Sample> samples, const LoaderOptions& options) {
    check_range(options.size >= 1 && options.size <= 16384, "--size", "it must lie between 1 and 16384");
    check_range(options.batch_size >= 1 && options.batch_size <= 1 << 20, "--batch-size",
                "it must be at least 1");
    check_range(options.crop_pct >= least_crop_pct && options.crop_pct <= 1, "--crop-pct",
                "it must lie between 0.1 and 1");
    check_range(options.batches_per_update >= 1, "--accumulate", "it must be at least 1");
    check_range(options.shares >= 1 && options.batches_per_update % options.shares == 0, "shares",
                "an update takes equally many batches from each");
    check_range(options.rank >= 0 && options.rank < options.ranks, "ranks", "the rank is not among them");
    check_range(options.threads >= 0, "--threads", "it must be at least 0");
    if (samples.empty())
        throw Error(ErrorKind::data, "cannot load images", "dataset", "the list of files is empty");
    check_range(options.shares <= std::ssize(samples), "shares", "each must have a sample");
    impl_ = std::make_unique<Impl>(std::move(samples), options);
}

Loader::~Loader() {
    stop();
}

std::int64_t Loader::batches_per_epoch() const noexcept {
    return impl_->batches_per_epoch();
}

void Loader::start(std::int64_t first_step, std::int64_t last_step) {
    stop();
    Impl& work = *impl_;
    work.options.kept->refresh();
    work.stopping = false;
    work.take_slots(std::max<std::int64_t>(last_step - first_step, 0));
    work.next_step = work.issue_step = first_step + work.options.rank;
    work.last_step = last_step;
    work.issue_position = 0;
    try {
        for (int t = 0; t < work.options.threads; ++t)
            work.threads.emplace_back([&work] { work.run_worker(); });
    } catch (const std::system_error&) {
        // no more threads to be had: next() does the work that is left
    }
}

Loader::BatchPtr Loader::next(const std::function<int()>& stop) {
    Impl& work = *impl_;
    for (;;) {
        Slot* const slot = work.next_slot(stop);
        if (slot == nullptr) return BatchPtr(nullptr, GiveBack{this});
        BatchPtr batch(&slot->batch, GiveBack{this});
        if (work.options.faults != nullptr)
            work.options.faults->name_until(work.options.training, batch->step);
        if (slot->error != nullptr) std::rethrow_exception(slot->error);
        work.close_gaps(slot->batch);
        if (batch->count > 0) return batch;
    }
}

void Loader::stop() {
    if (impl_ == nullptr) return;
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
    }
    impl_->work_there.notify_all();
    for (std::thread& thread : impl_->threads) thread.join();
    impl_->threads.clear();
}

void Loader::GiveBack::operator()(const Batch* batch) const {
    loader->impl_->give_back(batch);
}

}  // namespace onecycle
