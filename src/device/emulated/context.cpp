#include "device/emulated/context.h"

#include <algorithm>
#include <random>

#include "device/emulated/memory.h"

namespace onecycle::emulated {

namespace {

constexpr std::size_t most_pending = std::size_t{1} << 14;   // pieces of work
constexpr std::size_t most_staged = std::size_t{256} << 20;  // bytes

thread_local cudaError_t last_error = cudaSuccess;
thread_local bool working = false;  // this thread runs the work of streams: no call is allowed

void finish(Node& node) {
    node.done = true;
    node.after.clear();  // a chain of work must not keep itself alive
    node.action.reset();
}

}  // namespace

Context& context() {
    static Context& instance = *new Context;  // outlives every static object that calls the runtime
    return instance;
}

cudaError_t api(const char* name, const std::function<cudaError_t(Context&)>& function) {
    if (working) return last_error = cudaErrorNotPermitted;
    Context& c = context();
    const std::lock_guard lock(c.mutex);
    ++c.calls[name];
    cudaError_t error = c.failed;
    if (error == cudaSuccess) error = function(c);
    if (error != cudaSuccess) last_error = error;
    return error;
}

StreamState* Context::stream(cudaStream_t handle) {
    if (!handle) return &legacy;
    return streams.count(handle) ? handle : nullptr;
}

cudaError_t Context::issue(StreamState& s, Action action, Claim claim, bool cooperative) {
    if (s.capture) {
        if (s.capture->invalid) return cudaErrorStreamCaptureInvalidated;
        s.capture->nodes.push_back(
            {std::move(action), {s.tips.begin(), s.tips.end()}, std::move(claim), cooperative, s.priority});
        s.tips = {s.capture->nodes.size() - 1};
        return cudaSuccess;
    }
    s.last = issue_after(std::move(action), {s.last});
    return pending.size() > most_pending || staged > most_staged ? run_everything() : cudaSuccess;
}

NodePtr Context::issue_after(Action action, std::vector<NodePtr> after) {
    auto node = std::make_shared<Node>();
    node->action = std::move(action);
    std::erase_if(after, [](const NodePtr& n) { return !n || n->done; });
    node->after = std::move(after);
    pending.push_back(node);
    return node;
}

cudaError_t Context::run(const NodePtr& target) {
    if (!target || target->done) return cudaSuccess;
    target->needed = true;
    return run_needed();
}

cudaError_t Context::run_everything() {
    for (const NodePtr& node : pending) node->needed = true;
    return run_needed();
}

cudaError_t Context::query(const NodePtr& target) {
    if (!target || target->done) return cudaSuccess;
    const cudaError_t error = run(target);
    return error == cudaSuccess ? cudaErrorNotReady : error;
}

cudaError_t Context::run_needed() {
    // The order of issue respects what must come before what.
    for (auto node = pending.rbegin(); node != pending.rend(); ++node)
        if ((*node)->needed)
            for (const NodePtr& before : (*node)->after) before->needed = true;
    std::vector<NodePtr> plan;
    for (const NodePtr& node : pending)
        if (node->needed) plan.push_back(node);
    std::vector<std::vector<std::size_t>> then(plan.size());
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < plan.size(); ++i) {
        Node& node = *plan[i];
        node.place = i;
        node.open = 0;
        for (const NodePtr& before : node.after)
            if (!before->done) {
                then[before->place].push_back(i);
                ++node.open;
            }
        if (node.open == 0) ready.push_back(i);
    }
    const std::uint64_t seed = next_schedule_seed();
    std::mt19937_64 random(seed);
    const OpenMemory open;
    working = true;
    while (!ready.empty()) {
        auto chosen = seed ? ready.begin() + static_cast<std::ptrdiff_t>(random() % ready.size())
                           : std::min_element(ready.begin(), ready.end());
        const std::size_t i = *chosen;
        ready.erase(chosen);
        try {
            if (plan[i]->action) (*plan[i]->action)();
        } catch (const std::exception& e) {
            fail(e.what());
            break;
        }
        finish(*plan[i]);
        for (std::size_t next : then[i])
            if (--plan[next]->open == 0) ready.push_back(next);
    }
    working = false;
    if (failed != cudaSuccess) drop_pending();
    std::erase_if(pending, [](const NodePtr& node) { return node->done; });
    return failed;
}

cudaError_t Context::fail(const std::string& why) {
    failure = why;
    return failed = cudaErrorLaunchFailure;
}

bool Context::forbidden_by_capture() {
    bool any = false;
    for (const auto& capture : captures)
        if (capture->thread == std::this_thread::get_id()) any = capture->invalid = true;
    return any;
}

void Context::drop_pending() {
    for (const NodePtr& node : pending) finish(*node);
    pending.clear();
    staged = 0;
}

void Context::reset() {
    drop_pending();
    legacy = {};
    for (StreamState* s : streams) delete s;
    for (EventState* e : events) delete e;
    for (GraphState* g : graphs) delete g;
    for (GraphExecState* x : execs) delete x;
    streams.clear();
    events.clear();
    graphs.clear();
    execs.clear();
    captures.clear();
    release_everything();
    failed = cudaSuccess;
    failure.clear();
}

cudaError_t cudaGetLastError() {
    const std::lock_guard lock(context().mutex);
    const cudaError_t error = context().failed != cudaSuccess ? context().failed : last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError() {
    const std::lock_guard lock(context().mutex);
    return context().failed != cudaSuccess ? context().failed : last_error;
}

std::map<std::string, std::uint64_t> runtime_calls() {
    const std::lock_guard lock(context().mutex);
    return context().calls;
}

}  // namespace onecycle::emulated
