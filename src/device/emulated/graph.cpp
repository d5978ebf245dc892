// Stream capture, and graphs that are launched again and again.
#include <algorithm>

#include "device/emulated/context.h"

namespace onecycle::emulated {

namespace {

// For each node of a graph, the nodes that come before it, near or far.
std::vector<std::vector<bool>> ancestors(const std::vector<CapturedNode>& nodes) {
    std::vector<std::vector<bool>> before(nodes.size(), std::vector<bool>(nodes.size()));
    for (std::size_t i = 0; i < nodes.size(); ++i)
        for (std::size_t j : nodes[i].after) {
            before[i][j] = true;
            for (std::size_t k = 0; k < j; ++k)
                if (before[j][k]) before[i][k] = true;
        }
    return before;
}

// Whether everything captured comes before what the origin would do next.
bool joined(const Capture& capture) {
    const auto before = ancestors(capture.nodes);
    for (std::size_t i = 0; i < capture.nodes.size(); ++i)
        if (std::none_of(capture.origin->tips.begin(), capture.origin->tips.end(),
                         [&](std::size_t tip) { return tip == i || before[tip][i]; }))
            return false;
    return true;
}

bool cooperative_grids_are_ordered(const std::vector<CapturedNode>& nodes) {
    const auto before = ancestors(nodes);
    for (std::size_t i = 0; i < nodes.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (nodes[i].cooperative && nodes[j].cooperative && !before[i][j]) return false;
    return true;
}

bool have_one_priority(const std::vector<CapturedNode>& nodes) {
    return std::all_of(nodes.begin(), nodes.end(),
                       [&](const CapturedNode& node) { return node.priority == nodes.front().priority; });
}

// Why two nodes that touch the same memory must not run in any order; "" if all is well.
std::string conflict(const std::vector<CapturedNode>& nodes) {
    if (!checker::watches()) return "";
    const auto before = ancestors(nodes);
    for (std::size_t i = 0; i < nodes.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            if (!before[i][j])
                if (std::string why = checker::conflict(nodes[j].claim, nodes[i].claim); !why.empty())
                    return "an edge is missing in a graph: " + why;
    return "";
}

cudaError_t invalidate(Capture& capture, cudaError_t error) {
    capture.invalid = true;
    return error;
}

}  // namespace

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    return api("cudaStreamBeginCapture", [&](Context& c) {
        if (!stream) return cudaErrorStreamCaptureUnsupported;
        if (!c.streams.count(stream)) return cudaErrorInvalidResourceHandle;
        if (mode != cudaStreamCaptureModeThreadLocal) return cudaErrorNotSupported;
        if (stream->capture) return cudaErrorIllegalState;
        stream->capture = c.captures.emplace_back(std::make_shared<Capture>());
        stream->capture->origin = stream;
        stream->capture->thread = std::this_thread::get_id();
        stream->tips.clear();
        return cudaSuccess;
    });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    return api("cudaStreamEndCapture", [&](Context& c) {
        *graph = nullptr;
        if (!c.streams.count(stream)) return cudaErrorInvalidResourceHandle;
        if (!stream->capture) return cudaErrorIllegalState;
        const std::shared_ptr<Capture> capture = stream->capture;
        if (capture->origin != stream) return invalidate(*capture, cudaErrorStreamCaptureUnmatched);
        if (capture->thread != std::this_thread::get_id()) return cudaErrorStreamCaptureWrongThread;
        const bool all_joined = joined(*capture);
        for (StreamState* s : c.streams)
            if (s->capture == capture) s->capture.reset();
        std::erase(c.captures, capture);
        capture->ended = true;
        if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
        if (!all_joined) return cudaErrorStreamCaptureUnjoined;
        *graph = *c.graphs.insert(new GraphState{std::move(capture->nodes)}).first;
        return cudaSuccess;
    });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return api("cudaEventRecord", [&](Context& c) {
        StreamState* s = c.stream(stream);
        if (!s || !c.events.count(event)) return cudaErrorInvalidResourceHandle;
        if (s->capture && s->capture->invalid) return cudaErrorStreamCaptureInvalidated;
        *event = s->capture ? EventState{nullptr, s->capture, s->tips} : EventState{s->last, nullptr, {}};
        return cudaSuccess;
    });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    return api("cudaStreamWaitEvent", [&](Context& c) {
        StreamState* s = c.stream(stream);
        if (!s || !c.events.count(event)) return cudaErrorInvalidResourceHandle;
        if (!event->capture) {
            if (s->capture) return invalidate(*s->capture, cudaErrorStreamCaptureIsolation);
            if (!event->node || event->node->done) return cudaSuccess;
            s->last = c.issue_after(nullptr, {s->last, event->node});
            return cudaSuccess;
        }
        Capture& capture = *event->capture;
        if (capture.ended) return cudaErrorCapturedEvent;
        if (capture.invalid) return cudaErrorStreamCaptureInvalidated;
        if (!stream) return invalidate(capture, cudaErrorStreamCaptureUnsupported);
        if (s->capture && s->capture != event->capture) {
            s->capture->invalid = true;
            return invalidate(capture, cudaErrorStreamCaptureMerge);
        }
        if (!s->capture) {  // joins the capture
            s->capture = event->capture;
            s->tips.clear();
        }
        s->tips.insert(event->tips.begin(), event->tips.end());
        return cudaSuccess;
    });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
    return api("cudaGraphInstantiate", [&](Context& c) {
        if (!c.graphs.count(graph)) return cudaErrorInvalidValue;
        if (flags != 0 && flags != cudaGraphInstantiateFlagUseNodePriority) return cudaErrorInvalidValue;
        if (!cooperative_grids_are_ordered(graph->nodes)) return cudaErrorNotSupported;
        if (flags == 0 && !have_one_priority(graph->nodes)) return cudaErrorNotSupported;
        if (const std::string why = conflict(graph->nodes); !why.empty()) return c.fail(why);
        *exec = *c.execs.insert(new GraphExecState{graph->nodes, nullptr}).first;
        return cudaSuccess;
    });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    return api("cudaGraphLaunch", [&](Context& c) {
        StreamState* s = c.stream(stream);
        if (!s) return cudaErrorInvalidResourceHandle;
        if (!c.execs.count(exec)) return cudaErrorInvalidValue;
        if (s->capture) return invalidate(*s->capture, cudaErrorNotSupported);
        const NodePtr begin = c.issue_after(nullptr, {s->last, exec->last});
        std::vector<NodePtr> issued;
        for (const CapturedNode& node : exec->nodes) {
            std::vector<NodePtr> after{begin};
            for (std::size_t i : node.after) after.push_back(issued[i]);
            issued.push_back(c.issue_after(node.action, std::move(after)));
        }
        issued.push_back(begin);
        s->last = exec->last = c.issue_after(nullptr, std::move(issued));
        return c.issue(*s, nullptr, nullptr);  // runs what waits if that is very much
    });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    return api("cudaGraphExecDestroy", [&](Context& c) {
        if (!c.execs.erase(exec)) return cudaErrorInvalidValue;
        delete exec;
        return cudaSuccess;
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    return api("cudaGraphDestroy", [&](Context& c) {
        if (!c.graphs.erase(graph)) return cudaErrorInvalidValue;
        delete graph;
        return cudaSuccess;
    });
}

}  // namespace onecycle::emulated
