// What the emulated runtime knows: work, streams, events, captures. Behind runtime.h; nobody else
// includes it.
#pragma once

#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "device/emulated/checker.h"
#include "device/emulated/runtime.h"

namespace onecycle::emulated {

using Action = std::shared_ptr<const std::function<void()>>;  // null: nothing, only an order

// One piece of work that was issued, and what must be done before it.
struct Node {
    Action action;
    std::vector<std::shared_ptr<Node>> after;
    bool done = false, needed = false;
    std::size_t open = 0, place = 0;  // while a run is planned
};
using NodePtr = std::shared_ptr<Node>;

struct CapturedNode {
    Action action;
    std::vector<std::size_t> after;  // earlier nodes of the graph
    Claim claim;                     // to memory
    bool cooperative = false;
    int priority = 0;  // its stream's
};

using Tips = std::set<std::size_t>;  // the nodes after which the next one comes

struct Capture {
    StreamState* origin = nullptr;
    std::thread::id thread;
    std::vector<CapturedNode> nodes;
    bool invalid = false, ended = false;
};

struct StreamState {
    NodePtr last;                      // of the work issued
    std::shared_ptr<Capture> capture;  // it is part of, if any
    Tips tips;
    int priority = 0;
};

struct EventState {
    NodePtr node;                      // recorded in a stream, or
    std::shared_ptr<Capture> capture;  // in a capture
    Tips tips;
};

struct GraphState {
    std::vector<CapturedNode> nodes;
};

struct GraphExecState {
    std::vector<CapturedNode> nodes;
    NodePtr last;  // launch: two never overlap
};

struct Context {
    std::mutex mutex;
    std::map<std::string, std::uint64_t> calls;
    std::vector<NodePtr> pending;  // issued and not done, in order of issue
    std::size_t staged = 0;        // bytes of pageable memory that copies in `pending` hold
    StreamState legacy;
    std::set<StreamState*> streams;  // live handles
    std::set<EventState*> events;
    std::set<GraphState*> graphs;
    std::set<GraphExecState*> execs;
    std::vector<std::shared_ptr<Capture>> captures;  // under way
    cudaError_t failed = cudaSuccess;                // sticky
    std::string failure;

    // The stream of this handle, null if there is none.
    StreamState* stream(cudaStream_t handle);

    // Puts work on a stream, or into the graph that it captures.
    cudaError_t issue(StreamState& stream, Action action, Claim claim, bool cooperative = false);
    // Work after the given pieces, behind no stream.
    NodePtr issue_after(Action action, std::vector<NodePtr> after);

    // Does this piece and all that must come before it, or everything.
    cudaError_t run(const NodePtr& target);
    cudaError_t run_everything();
    // What a query answers: then all has been done for the next one.
    cudaError_t query(const NodePtr& target);

    // An operation that a capture of this thread does not allow ends that capture: true.
    bool forbidden_by_capture();
    void reset();
    cudaError_t fail(const std::string& why);  // for good

  private:
    cudaError_t run_needed();
    void drop_pending();
};

Context& context();

// Every call of the runtime: counts it, locks, hands on a failure that sticks, keeps the last
// error.
cudaError_t api(const char* name, const std::function<cudaError_t(Context&)>& function);

}  // namespace onecycle::emulated
