#include "device/cuda/collectives.h"

#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "device/cuda/calls.h"
#include "onecycle/error.h"
#if !defined(ONECYCLE_EMULATED)
#include "device/cuda/handles.h"
#include "device/cuda/library.h"
#include "device/cuda/library_call.h"
#endif

namespace onecycle::ONECYCLE_CUDA {

#if defined(ONECYCLE_EMULATED)

// The emulated device's memory is the host's: the communicator of the host moves it, when the
// stream comes to it.
struct DeviceCommunicator::Implementation {
    Communicator& ranks;
};

DeviceCommunicator::DeviceCommunicator(Communicator& ranks)
    : parts_(std::make_unique<Implementation>(Implementation{ranks})) {}
DeviceCommunicator::~DeviceCommunicator() = default;

void DeviceCommunicator::scatter(cudaStream_t stream, const std::byte* from, std::byte* to,
                                 const Partition& exchange) {
    std::vector<Bytes> reads;
    for (const Share& share : exchange.shares) reads.push_back({from + share.offset, share.bytes});
    const std::size_t received = exchange.share_of(place().rank).bytes * exchange.shares.size();
    check(enqueue([&ranks = parts_->ranks, from, to, exchange] { ranks.scatter(from, to, exchange); },
                  std::move(reads), {{to, received}}, stream),
          "scatter");
}

void DeviceCommunicator::gather(cudaStream_t stream, std::byte* buffer, const Partition& exchange) {
    std::vector<Bytes> reads, writes;
    for (int p = 0; p < exchange.members.count; ++p) {
        const Share& share = exchange.shares[static_cast<std::size_t>(p)];
        (exchange.members[p] == place().rank ? reads : writes)
            .push_back({buffer + share.offset, share.bytes});
    }
    check(enqueue([&ranks = parts_->ranks, buffer, exchange] { ranks.gather(buffer, exchange); },
                  std::move(reads), std::move(writes), stream),
          "gather");
}

const RankPlace& DeviceCommunicator::place() const {
    return parts_->ranks.place();
}

void check_collectives() {}

#else

namespace {

// The part of NCCL's interface that is used: nccl.h need not be here when this is compiled. It has
// been the same since NCCL 2.7.
struct UniqueId {
    char bytes[128];
};
using Comm = void*;
constexpr int nccl_success = 0, nccl_in_progress = 7, nccl_bytes = 1;  // ncclUint8

struct Nccl {
    SharedLibrary library{"libnccl.so.2", "NCCL 2"};
#define ONECYCLE_NCCL(name, ...) int (*name)(__VA_ARGS__) = library.function<int(__VA_ARGS__)>("nccl" #name)
    ONECYCLE_NCCL(GetUniqueId, UniqueId*);
    ONECYCLE_NCCL(CommInitRank, Comm*, int, UniqueId, int);
    ONECYCLE_NCCL(CommGetAsyncError, Comm, int*);
    ONECYCLE_NCCL(CommAbort, Comm);
    ONECYCLE_NCCL(GroupStart);
    ONECYCLE_NCCL(GroupEnd);
    ONECYCLE_NCCL(Send, const void*, std::size_t, int, int, Comm, cudaStream_t);
    ONECYCLE_NCCL(Recv, void*, std::size_t, int, int, Comm, cudaStream_t);
#undef ONECYCLE_NCCL
    const char* (*GetErrorString)(int) = library.function<const char*(int)>("ncclGetErrorString");

    void check(int result, const char* function) const {
        if (result == nccl_success || result == nccl_in_progress) return;
        throw Error(ErrorKind::device, "the GPUs of the ranks cannot talk to each other", function,
                    GetErrorString(result),
                    "see what NCCL says with NCCL_DEBUG=WARN; each rank needs a GPU of its own");
    }
};

// The communicator of this process, for check_collectives(): there is one.
struct Live {
    std::mutex mutex;
    const Nccl* nccl = nullptr;
    Comm comm = nullptr;
};
Live& live() {
    static Live& instance = *new Live;
    return instance;
}

}  // namespace

struct DeviceCommunicator::Implementation {
    Nccl nccl;
    Communicator& ranks;
    Comm comm = nullptr;

    explicit Implementation(Communicator& all) : ranks(all) {}

    // Sends and receives as one piece of work: part p of `from` to member p, part p of `to` from it.
    void exchange(cudaStream_t stream, const Members& members,
                  const std::vector<std::span<const std::byte> >& from,
                  const std::vector<std::span<std::byte> >& to) const {
        const LibraryCall call;
        nccl.check(nccl.GroupStart(), "ncclGroupStart");
        for (std::size_t p = 0; p < from.size(); ++p) {
            const int peer = members[static_cast<int>(p)];
            if (peer == ranks.place().rank) continue;
            if (!from[p].empty())
                nccl.check(nccl.Send(from[p].data(), from[p].size(), nccl_bytes, peer, comm, stream),
                           "ncclSend");
            if (!to[p].empty())
                nccl.check(nccl.Recv(to[p].data(), to[p].size(), nccl_bytes, peer, comm, stream), "ncclRecv");
        }
        nccl.check(nccl.GroupEnd(), "ncclGroupEnd");
    }
};

DeviceCommunicator::DeviceCommunicator(Communicator& ranks) {
    parts_ = std::make_unique<Implementation>(ranks);
    const Nccl& nccl = parts_->nccl;
    const auto all = static_cast<std::size_t>(ranks.place().ranks);
    UniqueId id{};
    if (ranks.place().rank == 0) nccl.check(nccl.GetUniqueId(&id), "ncclGetUniqueId");
    ranks.broadcast(std::as_writable_bytes(std::span(id.bytes)));
    nccl.check(nccl.CommInitRank(&parts_->comm, ranks.place().ranks, id, ranks.place().rank),
               "ncclCommInitRank");
    {
        Live& here = live();
        const std::lock_guard lock(here.mutex);
        here.nccl = &nccl;
        here.comm = parts_->comm;
    }
    // Connections are made when they are first used, which takes memory: not while a step is captured.
    void* memory = nullptr;
    ONECYCLE_CALL_CUDA(cudaMalloc, &memory, 2 * all);
    auto* bytes = static_cast<std::byte*>(memory);
    std::vector<std::span<const std::byte> > from;
    std::vector<std::span<std::byte> > to;
    for (std::size_t p = 0; p < all; ++p) {
        from.emplace_back(bytes + p, 1);
        to.emplace_back(bytes + all + p, 1);
    }
    const StreamHandle stream = make_stream(0);
    parts_->exchange(stream.get(), {.count = ranks.place().ranks}, from, to);
    ONECYCLE_CALL_CUDA(cudaStreamSynchronize, stream.get());
    ONECYCLE_CALL_CUDA(cudaFree, memory);
}

// Without asking the others, who may have ended.
DeviceCommunicator::~DeviceCommunicator() {
    Live& here = live();
    const std::lock_guard lock(here.mutex);
    if (here.comm != parts_->comm) return;  // check_collectives() has ended it
    here.comm = nullptr;
    parts_->nccl.CommAbort(parts_->comm);
}

void DeviceCommunicator::scatter(cudaStream_t stream, const std::byte* from, std::byte* to,
                                 const Partition& exchange) {
    const auto own = static_cast<std::size_t>(exchange.members.place_of(place().rank));
    const std::size_t part = exchange.shares[own].bytes;
    std::vector<std::span<const std::byte> > out;
    std::vector<std::span<std::byte> > in;
    for (std::size_t p = 0; p < exchange.shares.size(); ++p) {
        out.emplace_back(from + exchange.shares[p].offset, exchange.shares[p].bytes);
        in.emplace_back(to + p * part, part);
    }
    if (part > 0)
        ONECYCLE_CALL_CUDA(cudaMemcpyAsync, in[own].data(), out[own].data(), part, cudaMemcpyDeviceToDevice,
                           stream);
    parts_->exchange(stream, exchange.members, out, in);
}

void DeviceCommunicator::gather(cudaStream_t stream, std::byte* buffer, const Partition& exchange) {
    const Share own = exchange.share_of(place().rank);
    std::vector<std::span<const std::byte> > out;
    std::vector<std::span<std::byte> > in;
    for (const Share& share : exchange.shares) {
        out.emplace_back(buffer + own.offset, own.bytes);
        in.emplace_back(buffer + share.offset, share.bytes);
    }
    parts_->exchange(stream, exchange.members, out, in);
}

const RankPlace& DeviceCommunicator::place() const {
    return parts_->ranks.place();
}

void check_collectives() {
    Live& here = live();
    const std::lock_guard lock(here.mutex);
    if (!here.comm) return;
    int result = nccl_success;
    const int asked = here.nccl->CommGetAsyncError(here.comm, &result);
    if (asked == nccl_success && (result == nccl_success || result == nccl_in_progress)) return;
    here.nccl->CommAbort(std::exchange(here.comm, nullptr));
    here.nccl->check(asked, "ncclCommGetAsyncError");
    here.nccl->check(result, "a step");
}

#endif

}  // namespace onecycle::ONECYCLE_CUDA
