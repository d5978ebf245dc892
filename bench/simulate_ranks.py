#!/usr/bin/env python3
"""Data-parallel steps as a discrete-event simulation, to check what `onecycle profile --predict --ranks` says.

    build/onecycle profile --predict h200 --arch resnet50 --batch-size 256 --classes 1000 --ranks 8,64,1024 --json >p
    bench/simulate_ranks.py p [--out bench/results/ranks-h200.json]

From the profile come the program of each number of ranks (its steps with their branches, edges and least times, and
which ranks exchange how many bytes) and the speed of the links; no formula is shared. The branches of the graph share
the GPU while several have work. An exchange goes message by message: each rank sends to each other one, node by node
behind its own and place by place behind its own, through one port into its node and one out of it; a port takes in one
message at a time. While bytes are on their way they take their share of the GPU's memory from the step.

Beside it the same step with exchanges of one level: each rank sends to all others at once, as the program does where
nodes do not hold whole groups of eight.
"""
import argparse
import collections
import functools
import json
import sys

MEMORY_OF_A_BYTE = 4  # that is sent: read and written at each end, for NCCL has a buffer between
COUNTED_OF_A_BYTE = 2  # of these, what is in the least time of a step


@functools.cache
def exchange_seconds(ranks, node, share, inside, between, inside_hop, between_hop, message):
    """Until each of the ranks has sent `share` bytes to each other one.

    What rank (node m, place i) does is what (node 0, place i) does, so one node stands for all: what its place j
    receives is what place j of any node receives.
    """
    if ranks == 1:
        return 0.0
    node = min(node, ranks)
    speeds, hops = {True: inside, False: between}, {True: inside_hop, False: between_hop}
    waiting = []  # per place and port: the receiving places, in order
    for place in range(node):
        turned = [(place + turn) % node for turn in range(node)]
        waiting += [(True, turned[1:]), (False, turned * (ranks // node - 1))]
    sending = [0.0] * len(waiting)  # until when a port is busy
    receiving = {(place, home): 0.0 for place in range(node) for home in (True, False)}
    finish = 0.0
    # Ports run at their own pace and never wait for a receiver: round by round is in order of time.
    for turn in range(max(len(to) for _, to in waiting)):
        for port, (home, to) in enumerate(waiting):
            if turn >= len(to):
                continue
            seconds = share / speeds[home]
            sending[port] += message + seconds
            arrived = max(sending[port] + hops[home], receiving[to[turn], home] + seconds)
            receiving[to[turn], home] = arrived
            finish = max(finish, arrived)
    return finish


def link_seconds(links, exchange):
    """Of {"ranks": how many, "apart": of two neighbours, "bytes": of a message}."""
    return exchange_seconds(exchange["ranks"], max(1, links["node_ranks"] // exchange["apart"]), exchange["bytes"],
                            links["inside_bytes_per_second"], links["between_bytes_per_second"],
                            links["inside_hop_seconds"], links["between_hop_seconds"], links["message_seconds"])


def in_one_level(steps, ranks):
    """The same steps, but every exchange is among all."""
    times = {"all_reduce": 2, "gather_results": 1}
    return [dict(step, exchanges=times.get(step["operation"], 0) *
                 [{"ranks": ranks, "apart": 1, "bytes": step["exchanged_bytes"] / ranks}]) for step in steps]


def sent_bytes(exchanges):
    return sum((e["ranks"] - 1) * e["bytes"] for e in exchanges)


def phases(step, kernels, bandwidth, links):
    """A step as a list of (seconds of the GPU, seconds on the wire, share of the memory that the wire takes)."""
    exchanges = step["exchanges"]
    if not exchanges:
        return [(step["limit_seconds"], 0.0, 0.0)]
    parts = []
    for e in exchanges:
        wire = link_seconds(links, e)
        moved = MEMORY_OF_A_BYTE * sent_bytes([e]) / bandwidth
        parts += [(kernels / len(exchanges), 0.0, 0.0), (0.0, wire, min(0.9, moved / wire))]
    return parts


def simulate(profile, forecast, one_level=False):
    """Seconds of one step of so many ranks, and when each transfer starts and ends."""
    steps, links = forecast["steps"], profile["data_parallel"]["links"]
    bandwidth = profile["limits"]["bytes_per_second"]
    kernels = [s["limit_seconds"] - COUNTED_OF_A_BYTE * sent_bytes(s["exchanges"]) / bandwidth for s in steps]
    if one_level:
        steps = in_one_level(steps, forecast["ranks"])
    queues = collections.defaultdict(collections.deque)
    for number, step in enumerate(steps):
        queues[step["branch"]].append(number)
    work = [collections.deque(phases(s, k, bandwidth, links)) for s, k in zip(steps, kernels)]
    done, running, began, times, time = set(), {}, {}, [], 0.0  # running: branch: [step, gpu, wire, share of memory]
    while len(done) < len(steps):
        for branch, queue in queues.items():
            if branch not in running and queue and all(w in done for w in steps[queue[0]]["waits"]):
                number = queue.popleft()
                began[number] = time
                running[branch] = [number, *work[number].popleft()]
        if not running:
            sys.exit("error: the graph is stuck")
        computing = sum(1 for r in running.values() if r[1] > 0)
        speed = (1 - sum(r[3] for r in running.values())) / max(1, computing)
        passed = min(r[1] / speed if r[1] > 0 else r[2] for r in running.values())
        time += passed
        for branch, r in list(running.items()):
            if r[1] > 0:
                r[1] -= passed * speed
            else:
                r[2] -= passed
            if max(r[1], r[2]) > 1e-15:
                continue
            number = r[0]
            if work[number]:
                running[branch] = [number, *work[number].popleft()]
                continue
            done.add(number)
            del running[branch]
            if steps[number]["exchanges"]:
                times.append({"name": steps[number]["name"], "start": began[number], "end": time})
    return {"step_seconds": time, "transfers": times}


def compare(profile):
    rows = []
    for forecast in profile["data_parallel"]["forecasts"]:
        found = simulate(profile, forecast)
        one_level = simulate(profile, forecast, one_level=True)
        wire = sum(t["end"] - t["start"] for t in found["transfers"])
        rows.append({"ranks": forecast["ranks"],
                     "forecast": {k: v for k, v in forecast.items() if k not in ("transfers", "steps")},
                     "bytes": sum(t["bytes"] for t in forecast["transfers"]),
                     "simulated_step_seconds": found["step_seconds"],
                     "step_difference": forecast["step_seconds"] / found["step_seconds"] - 1,
                     "simulated_wire_seconds": wire,
                     "wire_difference": forecast["wire_seconds"] / wire - 1 if wire else 0.0,
                     "one_level_step_seconds": one_level["step_seconds"]})
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
            rows.append([f"{f['ranks']:,}", f"{f['ranks'] * result['batch_size']:,}",
                         f"{f['wire_seconds'] * 1e3:.2f}", f"{f['exposed_seconds'] * 1e3:.2f}",
                         f"{f['step_seconds'] * 1e3:.2f}", f"{f['images_per_second']:,.0f}",
                         f"{100 * f['efficiency']:.1f} %", f"{row['simulated_step_seconds'] * 1e3:.2f}",
                         f"{row['one_level_step_seconds'] * 1e3:.2f}"])
        found[f"ranks-{result['batch_size']}-{between:g}"] = table(
            "GPUs | images an update | on the wire, ms | waited for, ms | step, ms | images/s | efficiency | "
            "simulated, ms | in one level, ms", rows)
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
            f = r["forecast"]
            print(f"{r['ranks']:6}{f['step_seconds'] * 1e3:14.3f}{r['simulated_step_seconds'] * 1e3:14.3f}"
                  f"{100 * r['step_difference']:6.1f} %{f['wire_seconds'] * 1e3:22.3f}"
                  f"{r['simulated_wire_seconds'] * 1e3:14.3f}{100 * r['wire_difference']:6.1f} %")
        scale = profile["data_parallel"]
        results.append({**head, "links": links, "rows": rows,
                        "images_per_second_a_rank": scale["images_per_second_a_rank"], "inputs": scale["inputs"]})
    if arguments.out:
        with open(arguments.out, "w") as stream:
            json.dump(results, stream, indent=1)
            stream.write("\n")


if __name__ == "__main__":
    main()
