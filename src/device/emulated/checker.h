// What watches kernels while they run. Two sources serve it, one of them is built: shadow.cpp with
// its neighbours (ONECYCLE_SHADOW_MEMORY) knows of every byte of the emulated GPU who touched it
// last, whether it has a value and who may touch it; no_checker.cpp watches nothing.
//
// An operation declares what it touches for as long as it puts work on a stream. Each piece of work
// keeps a claim to that, also in a captured graph: whatever its kernels touch beyond it is an
// error, and so are two pieces of one graph that touch the same bytes in no order, one of them
// writing.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace onecycle::emulated {

struct Grid;
struct ThreadState;

struct Bytes {
    const void* begin = nullptr;
    std::size_t bytes = 0;
};

// Memory that an operation names.
struct Operand {
    std::string name;
    Bytes place;
    bool written = false;  // or read only
    bool fresh = false;    // holds nothing when the operation begins
    bool scratch = false;  // nor when it has ended
    bool whole = false;    // every byte has a value when it has ended
};

struct Operation;
struct Piece {
    std::shared_ptr<Operation> operation;
    std::size_t number;  // among the pieces of work of its operation
};
using Claim = std::shared_ptr<const Piece>;  // null: nothing is declared

namespace checker {

// Whether anything watches; if so, the blocks of a grid run on one host thread.
bool watches();

// --- operations ---
void begin_operation(std::string name, std::vector<Operand> operands);  // of this host thread
void end_operation();
Claim next_piece();  // of the operation that this host thread is in
Claim claim(std::vector<Bytes> reads,
            std::vector<Bytes> writes);  // for work that says itself what it touches

// Runs the piece: its kernels may touch what is claimed. Throws Error(device).
void run_piece(const Claim& claim, const char* name, const std::function<void()>& work);
// The same for work of the host, which nothing watches: it touches all of this.
void run_host_piece(const Claim& claim, const std::vector<Bytes>& reads, const std::vector<Bytes>& writes,
                    const std::function<void()>& work);
// Why work that no edge orders must not run in any order; "" if it may.
std::string conflict(const Claim& a, const Claim& b);

// --- memory ---
void* address_for(std::size_t bytes);  // where memory shall be mapped; null: anywhere
void allocated(const void* begin, std::size_t bytes, bool pinned);
void released(const void* begin, std::size_t bytes);
void copied(const void* to, const void* from, std::size_t bytes);
void filled(const void* to, std::size_t bytes);
void shared_array_added(const void* begin, std::size_t bytes);

// --- threads ---
void grid_begins(const Grid& grid);
void blocks_begin();
// The lanes of the mask have met in an exchange; the thread is the first of their warp.
void lanes_met(const ThreadState& thread, unsigned mask);
// They met in __syncwarp().
void warp_synchronized(const ThreadState& thread, unsigned mask);

}  // namespace checker

}  // namespace onecycle::emulated
