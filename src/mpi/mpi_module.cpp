// The ranks of a job, by MPI. This module is opened when a launcher has started the program more
// than once (device/ranks_join.cpp); nothing else is linked with MPI.
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "device/mpi_module.h"
#include "mpi/waiting.h"
#include "mpi/watch.h"

namespace onecycle::mpi {

namespace {

// "Open MPI v4.1.4, package: ..." and "MPICH Version:  4.0.2\n..." become a name and a number.
std::string library_name() {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(text, &length);
    std::string line(text, static_cast<std::size_t>(length));
    line.resize(std::min(line.find_first_of(",\n"), line.size()));
    if (const std::size_t at = line.find("Version:"); at != std::string::npos) line.erase(at, 8);
    if (const std::size_t at = line.find(" v"); at != std::string::npos) line.erase(at + 1, 1);
    std::string name;
    for (const char c : line) {
        const bool space = c == ' ' || c == '\t';
        if (!space || (!name.empty() && name.back() != ' ')) name += space ? ' ' : c;
    }
    return name;
}

struct Message {
    int rank;
    std::byte* data;
    std::size_t bytes;
};

class MpiCommunicator final : public Communicator {
  public:
    explicit MpiCommunicator(const MpiHost& host) : host_(host), name_(library_name()) {
        int initialized = 0, threads = 0;
        MPI_Initialized(&initialized);
        if (!initialized) {
            call(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &threads), "MPI_Init_thread");
            started_ = true;
        }
        MPI_Query_thread(&threads);
        MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
        call(MPI_Comm_dup(MPI_COMM_WORLD, &host_data_), "MPI_Comm_dup");
        call(MPI_Comm_dup(MPI_COMM_WORLD, &step_data_), "MPI_Comm_dup");
        find_place();
        if (host.patience <= 0 || place_.ranks == 1) return;
        if (threads == MPI_THREAD_MULTIPLE)
            watch_ = std::make_unique<Watch>(host, hosts_, [this] { abort(7); });
        else if (place_.rank == 0)
            host.warn(name_ + " allows one thread only: a rank that hangs will not be noticed");
    }
    // Without finish() the job ends in disorder: the launcher sees it, and ends the other ranks.
    ~MpiCommunicator() override = default;

    const RankPlace& place() const override { return place_; }
    std::string name() const override { return name_; }

    void broadcast(std::span<std::byte> bytes) override {
        std::vector<MPI_Request> requests;
        for (std::size_t at = 0; at < bytes.size(); at += host_.message) {
            const std::size_t part = std::min(host_.message, bytes.size() - at);
            call(MPI_Ibcast(bytes.data() + at, static_cast<int>(part), MPI_BYTE, 0, host_data_,
                            &requests.emplace_back()),
                 "MPI_Ibcast");
        }
        wait_for(host_, requests);
    }

    void all_gather(std::span<const std::byte> own, std::byte* all) override {
        std::vector<Share> shares;
        for (std::size_t r = 0; r < hosts_.size(); ++r) shares.push_back({r * own.size(), own.size()});
        if (!own.empty())
            std::memcpy(all + shares[static_cast<std::size_t>(place_.rank)].offset, own.data(), own.size());
        gather_on(host_data_, all, among_all(std::move(shares)));
    }

    void scatter(const std::byte* from, std::byte* to, const Partition& exchange) override {
        const Share own = exchange.share_of(place_.rank);
        const auto received = [&](int place) { return to + static_cast<std::size_t>(place) * own.bytes; };
        std::vector<Message> in, out;
        for (const int place : others(exchange.members)) {
            const Share& theirs = exchange.shares[static_cast<std::size_t>(place)];
            const int rank = exchange.members[place];
            in.push_back({rank, received(place), own.bytes});
            out.push_back({rank, const_cast<std::byte*>(from) + theirs.offset, theirs.bytes});
        }
        if (own.bytes > 0)
            std::memcpy(received(exchange.members.place_of(place_.rank)), from + own.offset, own.bytes);
        send_and_receive(step_data_, in, out);
    }

    void gather(std::byte* buffer, const Partition& exchange) override {
        gather_on(step_data_, buffer, exchange);
    }

    void finish() override {
        std::vector<MPI_Request> requests(1);
        call(MPI_Ibarrier(host_data_, requests.data()), "MPI_Ibarrier");
        wait_for(host_, requests);
        if (watch_) watch_->finish();
        watch_.reset();
        MPI_Comm_free(&host_data_);
        MPI_Comm_free(&step_data_);
        if (started_) call(MPI_Finalize(), "MPI_Finalize");
    }

    [[noreturn]] void abort(int code) override {
        MPI_Abort(MPI_COMM_WORLD, code);
        _exit(code);
    }

  private:
    void call(int code, const char* function) const { check(host_, code, function); }

    // Ranks of one machine are those that could share memory: host names need not differ.
    void find_place() {
        MPI_Comm_rank(MPI_COMM_WORLD, &place_.rank);
        MPI_Comm_size(MPI_COMM_WORLD, &place_.ranks);
        MPI_Comm local = MPI_COMM_NULL;
        call(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, place_.rank, MPI_INFO_NULL, &local),
             "MPI_Comm_split_type");
        MPI_Comm_rank(local, &place_.local_rank);
        MPI_Comm_size(local, &place_.local_ranks);
        int first = place_.rank;
        call(MPI_Bcast(&first, 1, MPI_INT, 0, local), "MPI_Bcast");
        MPI_Comm_free(&local);

        const auto ranks = static_cast<std::size_t>(place_.ranks);
        std::vector<int> firsts(ranks);
        call(MPI_Allgather(&first, 1, MPI_INT, firsts.data(), 1, MPI_INT, host_data_), "MPI_Allgather");
        place_.nodes = 0;
        for (int r = 0; r < place_.ranks; ++r) {
            if (firsts[static_cast<std::size_t>(r)] != r) continue;  // not the first of its machine
            if (r == first) place_.node = place_.nodes;
            ++place_.nodes;
        }

        char name[MPI_MAX_PROCESSOR_NAME] = "";
        int length = 0;
        MPI_Get_processor_name(name, &length);
        place_.host = name;
        std::vector<char> names(ranks * sizeof name);
        call(MPI_Allgather(name, sizeof name, MPI_CHAR, names.data(), sizeof name, MPI_CHAR, host_data_),
             "MPI_Allgather");
        for (std::size_t r = 0; r < ranks; ++r) hosts_.emplace_back(names.data() + r * sizeof name);
    }

    // The places of the other members. Each rank begins behind itself, so that not all send to one.
    std::vector<int> others(const Members& members) const {
        std::vector<int> places;
        const int own = members.place_of(place_.rank);
        for (int i = 1; i < members.count; ++i) places.push_back((own + i) % members.count);
        return places;
    }

    void gather_on(MPI_Comm ranks, std::byte* buffer, const Partition& exchange) const {
        const Share own = exchange.share_of(place_.rank);
        std::vector<Message> in, out;
        for (const int place : others(exchange.members)) {
            const Share& theirs = exchange.shares[static_cast<std::size_t>(place)];
            in.push_back({exchange.members[place], buffer + theirs.offset, theirs.bytes});
            out.push_back({exchange.members[place], buffer + own.offset, own.bytes});
        }
        send_and_receive(ranks, in, out);
    }

    // Messages in parts: MPI counts bytes with an int. Those from one rank to another stay in order.
    void send_and_receive(MPI_Comm ranks, const std::vector<Message>& in,
                          const std::vector<Message>& out) const {
        std::vector<MPI_Request> requests;
        const auto in_parts = [&](const std::vector<Message>& messages, const auto& post) {
            for (const Message& m : messages)
                for (std::size_t at = 0; at < m.bytes; at += host_.message)
                    post(m.data + at, static_cast<int>(std::min(host_.message, m.bytes - at)), m.rank);
        };
        in_parts(in, [&](std::byte* data, int bytes, int rank) {
            call(MPI_Irecv(data, bytes, MPI_BYTE, rank, 0, ranks, &requests.emplace_back()), "MPI_Irecv");
        });
        in_parts(out, [&](std::byte* data, int bytes, int rank) {
            call(MPI_Isend(data, bytes, MPI_BYTE, rank, 0, ranks, &requests.emplace_back()), "MPI_Isend");
        });
        wait_for(host_, requests);
    }

    const MpiHost host_;
    const std::string name_;
    bool started_ = false;  // MPI, by this module
    MPI_Comm host_data_ = MPI_COMM_NULL, step_data_ = MPI_COMM_NULL;
    RankPlace place_;
    std::vector<std::string> hosts_;  // of each rank
    std::unique_ptr<Watch> watch_;
};

}  // namespace

}  // namespace onecycle::mpi

extern "C" {

__attribute__((visibility("default"))) const char* onecycle_mpi_library(int version) {
    static const std::string name = onecycle::mpi::library_name();
    return version == onecycle::MpiHost::current_version ? name.c_str() : nullptr;
}

__attribute__((visibility("default"))) onecycle::Communicator* onecycle_open_mpi(
    const onecycle::MpiHost& host) {
    if (host.version != onecycle::MpiHost::current_version) return nullptr;
    return new onecycle::mpi::MpiCommunicator(host);
}
}
