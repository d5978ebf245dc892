#!/usr/bin/env python3
"""Data-parallel steps as a discrete-event simulation, to check what `onecycle profile --predict --ranks` says.

    build/onecycle profile --predict h200 --arch resnet50 --batch-size 256 --classes 1000 --ranks 8,64,1024 --json > p.json
    bench/simulate_ranks.py p.json [--out bench/results/ranks-h200.json]

It shares no formula with the program. From the profile come the steps with their branches, edges and least times, the
gradients with the step that makes each, and the speed of the links. Then: buckets of 8 MiB are cut anew; the two
branches of the graph share the GPU while both have work; a bucket is sent message by message, round by round along
the rings, and along both trees in pieces of 128 KiB through the network adapters of the nodes; while a bucket is on its
way its sums take their share of the GPU's memory from the step.
"""
import argparse
import collections
import functools
import heapq
import json
import sys

PIECE = 128 << 10
BUCKET = 8 << 20
TIMES = ("start_seconds", "end_seconds")
MEMORY_OF_A_BYTE = 5  # read own and received, write the sum; read and write what is passed on


@functools.cache
def ring_seconds(n, size, bandwidth, hop):
    """Two times round: n-1 rounds that add, n-1 that copy. Each rank sends when it has what it passes on."""
    if n == 1:
        return 0.0
    free = [0.0] * n  # the adapter of rank i has sent what it was given
    have = [0.0] * n  # rank i has the piece that it sends next
    for _ in range(2 * (n - 1)):
        arrived = [0.0] * n
        for i in range(n):
            start = max(free[i], have[i])
            free[i] = start + size / n / bandwidth
            arrived[(i + 1) % n] = free[i] + hop
        have = arrived
    return max(have)


def binary_tree(n, mirrored):
    """parent of each node: in-order, so that inner nodes have odd places; mirrored (or shifted) the leaves have."""
    parent = [None] * n

    def build(low, high, above):
        if low >= high:
            return
        middle = (low + high) // 2
        parent[middle] = above
        build(low, middle, middle)
        build(middle + 1, high, middle)
    build(0, n, None)
    if not mirrored:
        return parent
    place = [(i + 1) % n for i in range(n)] if n % 2 else list(range(n))[::-1]
    turned = [None] * n
    for i, above in enumerate(parent):
        turned[place[i]] = None if above is None else place[above]
    return turned


@functools.cache
def tree_seconds(n, size, bandwidth, hop):
    """Sums go up two trees, results come down, in pieces; an adapter sends one message at a time and receives one."""
    if n == 1:
        return 0.0
    parents = [binary_tree(n, False), binary_tree(n, True)]
    children = [collections.defaultdict(list), collections.defaultdict(list)]
    for t, parent in enumerate(parents):
        for node, above in enumerate(parent):
            if above is not None:
                children[t][above].append(node)
    pieces = max(1, round(size / 2 / PIECE))
    seconds = size / 2 / pieces / bandwidth
    sends = [[] for _ in range(n)]  # what waits for the adapter of each node: (piece, down, tree, to)
    sending, receiving = [0.0] * n, [0.0] * n
    missing = collections.Counter()
    events, count = [], 0
    finish, got = 0.0, [0] * n

    def post(time, kind, *what):
        nonlocal count
        count += 1
        heapq.heappush(events, (time, count, kind, what))

    def complete(time, t, node, piece):
        """A node has the sum of its subtree."""
        above = parents[t][node]
        if above is None:
            have(time, t, node, piece)
        else:
            heapq.heappush(sends[node], (piece, 0, t, above))
            post(time, "send", node)

    def have(time, t, node, piece):
        """A node has the result of all: it passes it down."""
        nonlocal finish
        got[node] += 1
        finish = max(finish, time)
        for child in children[t][node]:
            heapq.heappush(sends[node], (piece, 1, t, child))
            post(time, "send", node)

    for t in range(2):
        for node in range(n):
            for piece in range(pieces):
                missing[t, node, piece] = len(children[t][node])
    for t in range(2):
        for node in range(n):
            if not children[t][node]:
                for piece in range(pieces):
                    complete(0.0, t, node, piece)
    while events:
        time, _, kind, what = heapq.heappop(events)
        if kind == "send":
            (node,) = what
            if sending[node] > time:
                if sends[node]:
                    post(sending[node], "send", node)
                continue
            if not sends[node]:
                continue
            piece, down, t, to = heapq.heappop(sends[node])
            sending[node] = time + seconds
            # The other end takes one message at a time; what comes meanwhile waits there.
            receiving[to] = max(sending[node] + hop, receiving[to] + seconds)
            post(receiving[to], "arrive", to, piece, down, t)
            post(sending[node], "send", node)
        else:
            node, piece, down, t = what
            if down:
                have(time, t, node, piece)
            else:
                missing[t, node, piece] -= 1
                if missing[t, node, piece] == 0:
                    complete(time, t, node, piece)
    assert got == [2 * pieces] * n, "a node has not got every result"
    return finish


def all_reduce_seconds(links, ranks, size):
    inside = min(links["node_ranks"], ranks)
    nodes = ranks // inside
    seconds = ring_seconds(inside, size, links["inside_bytes_per_second"], links["inside_hop_seconds"])
    if nodes > 1:
        share = (nodes, size / inside, links["between_bytes_per_second"], links["between_hop_seconds"])
        seconds += min(ring_seconds(*share), tree_seconds(*share))
    return seconds


def memory_seconds(profile, links, ranks, size):
    inside = min(links["node_ranks"], ranks)
    nodes = ranks // inside
    moved = size * (inside - 1) / inside + size / inside * (nodes - 1) / nodes
    return MEMORY_OF_A_BYTE * moved / profile["limits"]["bytes_per_second"]


def cut_buckets(profile):
    """(bytes, the steps that must be done): by buffer, in the order in which gradients lie there."""
    buckets = []
    for space in sorted({g["space"] for g in profile["gradients"]}):
        size, steps = 0, set()
        for gradient in sorted((g for g in profile["gradients"] if g["space"] == space), key=lambda g: g["offset"]):
            size, steps = size + gradient["bytes"], steps | {gradient["step"]}
            if size >= BUCKET:
                buckets.append((size, steps))
                size, steps = 0, set()
        if size:
            buckets.append((size, steps))
    forward = {s["step"] for s in profile["steps"] if s["phase"] == "forward"}
    buckets.append((profile["statistics_bytes"], forward))
    buckets.append((48, {s["step"] for s in profile["steps"] if s["phase"] == "loss"}))
    return [b for b in buckets if b[0]]


def simulate(profile, ranks):
    """Seconds of one step, and when each transfer starts and ends."""
    links, steps = profile["data_parallel"]["links"], profile["steps"]
    waiting = cut_buckets(profile) if ranks > 1 else []
    update = next(s["step"] for s in steps if s["phase"] == "update")
    queues = collections.defaultdict(collections.deque)
    for s in steps:
        queues[s["branch"]].append(s["step"])
    left = {s["step"]: s["limit_seconds"] for s in steps}
    done, running, times = set(), {}, []
    time, sending, slow = 0.0, None, 0.0  # sending: (end, start, bytes)
    while len(done) < len(steps):
        for branch, queue in queues.items():
            if branch not in running and queue:
                step = queue[0]
                free = all(w in done for w in steps[step]["waits"])
                if step == update:  # joins all branches and the last transfer
                    free = free and not waiting and sending is None
                if free:
                    running[branch] = queue.popleft()
        if sending is None:
            ready = [b for b in waiting if b[1] <= done]
            if ready:
                bucket = ready[0]
                waiting.remove(bucket)
                seconds = all_reduce_seconds(links, ranks, bucket[0])
                slow = min(0.9, memory_seconds(profile, links, ranks, bucket[0]) / seconds)
                sending = (time + seconds, time, bucket[0])
        speed = (1 - (slow if sending else 0)) / max(1, len(running))
        next_step = min((time + left[s] / speed for s in running.values()), default=float("inf"))
        then = min(next_step, sending[0] if sending else float("inf"))
        if then == float("inf"):
            sys.exit("error: the graph is stuck")
        for branch, step in list(running.items()):
            left[step] -= (then - time) * speed
            if left[step] <= 1e-15:
                done.add(step)
                del running[branch]
        time = then
        if sending and sending[0] <= time:
            times.append({"bytes": sending[2], "start": sending[1], "end": sending[0]})
            sending = None
    return {"ranks": ranks, "step_seconds": time, "transfers": times,
            "images_per_second": ranks * profile["batch_size"] / time}


def compare(profile):
    rows = []
    for forecast in profile["data_parallel"]["forecasts"]:
        found = simulate(profile, forecast["ranks"])
        wire = sum(t["end"] - t["start"] for t in found["transfers"])
        rows.append({"ranks": forecast["ranks"], "forecast": {k: v for k, v in forecast.items() if k not in TIMES},
                     "forecast_step_seconds": forecast["step_seconds"],
                     "simulated_step_seconds": found["step_seconds"],
                     "step_difference": forecast["step_seconds"] / found["step_seconds"] - 1,
                     "forecast_wire_seconds": forecast["wire_seconds"], "simulated_wire_seconds": wire,
                     "wire_difference": forecast["wire_seconds"] / wire - 1 if wire else 0.0})
    return rows


def tables():
    """The tables of docs/scale.md, from bench/results/ranks-h200.json."""
    from markdown_table import results, table

    found = {}
    kept = results("ranks-h200")
    for result in kept:
        between = result["links"]["between_bytes_per_second"] / 1e9
        rows = []
        for row in result["rows"]:
            f = row["forecast"]
            rows.append([f"{f['ranks']:,}", f"{f['ranks'] * result['batch_size']:,}", f["between_nodes"] or "-",
                         f"{f['wire_seconds'] * 1e3:.2f}", f"{f['exposed_seconds'] * 1e3:.2f}",
                         f"{f['step_seconds'] * 1e3:.2f}", f"{f['images_per_second']:,.0f}",
                         f"{100 * f['efficiency']:.1f} %", f"{row['simulated_step_seconds'] * 1e3:.2f}"])
        found[f"ranks-{result['batch_size']}-{between:g}"] = table(
            "GPUs | images an update | between nodes | on the wire, ms | waited for, ms | step, ms | images/s | "
            "efficiency | simulated, ms", rows)
    rows = [[i["input"], f"{i['images_per_core']:.0f}" if i["images_per_core"] else "-", f"{i['cores_a_rank']:.0f}",
             "yes" if i["enough"] else "no"] for i in kept[0]["inputs"]]
    found["ranks-inputs"] = table("input | a core makes, images/s | cores for each GPU | enough", rows)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", nargs="+", help="what `onecycle profile --predict … --ranks … --json` printed")
    parser.add_argument("--out", help="write the comparison as JSON")
    arguments = parser.parse_args()
    results = []
    for path in arguments.profile:
        with open(path) as stream:
            profile = json.load(stream)
        links = profile["data_parallel"]["links"]
        head = {k: profile[k] for k in ("arch", "size", "batch_size", "precision")}
        print(head, "between nodes:", links["between_bytes_per_second"] / 1e9, "GB/s a rank")
        print(" ranks   forecast ms  simulated ms  apart     wire: forecast ms  simulated ms  apart")
        rows = compare(profile)
        for r in rows:
            print(f"{r['ranks']:6}{r['forecast_step_seconds'] * 1e3:14.3f}{r['simulated_step_seconds'] * 1e3:14.3f}"
                  f"{100 * r['step_difference']:6.1f} %{r['forecast_wire_seconds'] * 1e3:22.3f}"
                  f"{r['simulated_wire_seconds'] * 1e3:14.3f}{100 * r['wire_difference']:6.1f} %")
        scale = profile["data_parallel"]
        results.append({**head, "links": links, "rows": rows, "bytes": sum(t["bytes"] for t in scale["transfers"]),
                        "images_per_second_a_rank": scale["images_per_second_a_rank"], "inputs": scale["inputs"]})
    if arguments.out:
        with open(arguments.out, "w") as stream:
            json.dump(results, stream, indent=1)
            stream.write("\n")


if __name__ == "__main__":
    main()
