"""What the results say in words: one line a decision, with the noise that it was measured against."""
from statistics import median

from results import DONE, FAILED
from steps import COMPARED

LEAST = 0.005  # a difference below this is never one, whatever the spread
FUSION_LEAST = 0.02  # kernels are timed once, so their spread is not known


def decisions(results):
    found = (stopped, failures, texts, checks, plans, drift, switched, peers, precisions, fused, range_test, cold_start)
    return [line for find in found for line in find(results)]


def percent(share):
    return f"{100 * share:.1f} %"


def spread_of(values):
    return (max(values) - min(values)) / median(values)


def stopped(results):
    for name, stage in results.stages.items():
        data = stage.get("data") or {}
        if "goes_on_without" in data:
            yield f"**a step does not run as it stands: everything was measured without the {data['goes_on_without']}**"
        if "stops" in data:
            yield f"**stopped at {name}: nothing after it would be worth anything**"


def failures(results):
    for name, stage in results.stages.items():
        if stage["state"] == FAILED:
            yield f"**{name} failed**: {stage['why']}"


def texts(results):
    found = results.data("cuDNN's device text")
    if "differs" in found:
        pairs = [f"{key} ({tested} there, {here} here)" for key, (tested, here) in found["differs"].items()]
        yield "cuDNN's text of the device: " + (f"unlike that of the tests in {', '.join(pairs)}" if pairs else
                                                "that of the tests")


def checks(results):
    for name in ("tests on the device", "training on the device as in PyTorch"):
        found = [r for r in results.data(name).values() if isinstance(r, dict)]
        if found:
            failed = [case for r in found for case in r["failed"]]
            yield (f"{name}: {sum(r['passed'] for r in found)} cases passed in {len(found)} programs"
                   + (f", {len(failed)} failed" if failed else ""))
    for name in ("memcheck", "racecheck", "initcheck", "synccheck"):
        clean = [program for program, said in results.data(name).items() if said.startswith("0 ")]
        if results.state(name) == DONE:
            yield f"{name}: nothing found in {len(clean)} programs"


def plans(results):
    for name, stage in results.stages.items():
        data = stage.get("data") or {}
        if name.startswith("step ") and name.endswith("bf16") and "steps" in data:
            direct = [s for s in data["steps"] if s["implementation"] == "direct"]
            if direct and results.device != "emulated":
                yield (f"**{name}: {len(direct)} convolutions ran on our own direct kernel, no plan of cuDNN's took "
                       f"them: {', '.join(sorted({s['shape'] for s in direct}))[:300]}**")
    searches = results.searches
    if searches:
        gains = [s[0]["milliseconds"] / min(p["milliseconds"] for p in s) for s in searches.values()]
        timed = median(len(search) for search in searches.values())
        yield (f"search for plans: {len(searches)} convolutions, {timed:.0f} plans timed for each; the fastest beats "
               f"cuDNN's first by {percent(median(gains) - 1)} (median), {percent(max(gains) - 1)} at most")


def rate(results, name):
    whole = results.data(name).get("whole_step")
    return whole and whole["images_per_second"]


def drift_of(results):
    """How much the same step differed from begin to end of the call; None where it was run once."""
    both = rate(results, "step 224:256 bf16"), rate(results, "step 224:256 bf16 again")
    return None if None in both else both[1] / both[0] - 1


def drift(results):
    found = drift_of(results)
    if found is not None:
        way = "faster" if found > 0 else "slower"
        yield f"the card's drift: the step at 224:256 was {percent(abs(found))} {way} again later"


def switched(results):
    for name, stage in results.stages.items():
        rounds = (stage.get("data") or {}).get("rounds")
        if rounds:
            for what, stands, other in COMPARED:
                if any(stands in r and other in r for r in rounds):
                    yield f"{what} at {name.split()[1]}: {verdict(rounds, stands, other)}"


def verdict(rounds, stands, other):
    """Which of two sides is faster, by the ratios of rounds, each of which ran both."""
    ratios = [r[other] / r[stands] for r in rounds
              if isinstance(r.get(other), float) and isinstance(r.get(stands), float)]
    if not ratios:
        return "not measured: " + next(r[side] for r in rounds for side in (stands, other)
                                       if isinstance(r.get(side), str))
    middle, spread = median(ratios), spread_of(ratios)
    at = next(i for i in range(len(stands)) if stands[i] != other[i])
    better = other if middle < 1 else stands
    gain = abs(1 - middle) if middle < 1 else 1 - 1 / middle
    if gain <= max(spread, LEAST):
        return f"no difference seen, {percent(gain)} against a spread of {percent(spread)}"
    if len(ratios) == 1:
        return f"{on(better[at])}, {percent(gain)} faster in the only round, so noise is not known"
    return f"{on(better[at])}, {percent(gain)} faster (spread {percent(spread)}, {len(ratios)} rounds)"


def on(digit):
    return "on" if digit == "1" else "off"


def peer_results(results):
    """PyTorch's, by name, of all stages."""
    return {r["name"]: r for name, stage in results.stages.items() if "PyTorch" in name
            for r in (stage.get("data") or {}).get("results", [])}


def peers(results):
    found = {}
    for name, r in peer_results(results).items():
        if name.startswith("step ") and "images_per_second" in r:
            found.setdefault(" ".join(name.split()[1:3]), []).append(r)
    for case, runs in found.items():
        best = max(runs, key=lambda r: r["images_per_second"])
        text = f"PyTorch's best at {case} is {best['images_per_second']:.0f} images/s ({best['name'].split()[3]}): "
        ours = rate(results, f"step {case}")
        if not ours:
            yield text + "ours was not measured"
            continue
        ratio = ours / best["images_per_second"]
        spread = max(spread_of(best["blocks"]), abs(drift_of(results) or 0))
        yield text + f"ours {ours:.0f}, ratio {ratio:.2f}" + (
            f", no difference seen against a spread of {percent(spread)}" if abs(ratio - 1) <= max(spread, LEAST) else
            f" (spread {percent(spread)})")


def precisions(results):
    bf16, fp16 = rate(results, "step 224:256 bf16"), rate(results, "step 224:256 fp16")
    if bf16 and fp16:
        gain, noise = abs(fp16 / bf16 - 1), max(abs(drift_of(results) or 0), LEAST)
        yield "fp16 beside bf16 at 224:256: " + (
            f"no difference seen, {percent(gain)} against a drift of {percent(noise)}" if gain <= noise else
            f"{percent(gain)} {'faster' if fp16 > bf16 else 'slower'} (drift {percent(noise)})")


def fused(results):
    """For each fused graph and type whether it pays, over its shapes."""
    groups = {}
    for line in results.data("fusions").get("lines", []):
        groups.setdefault((line.get("graph"), line.get("dtype")), []).append(line)
    for (graph, dtype), lines in groups.items():
        timed = [line for line in lines if line.get("microseconds") and line.get("plain_microseconds")]
        errors = [line["error"] for line in lines if line.get("error") and not line.get("microseconds")]
        broken = [error for error in errors if "no time" not in error]
        if timed and all(line["microseconds"] == line["plain_microseconds"] for line in timed):
            continue  # the plain graph itself
        text = f"fuse ({graph}) in {dtype}: "
        if not timed:
            if broken:
                yield text + f"no, it does not run: {broken[0]}"
            continue
        saved = median(line["plain_microseconds"] - line["microseconds"] for line in timed)
        share = median(1 - line["microseconds"] / line["plain_microseconds"] for line in timed)
        if abs(share) < FUSION_LEAST:
            text += f"no difference seen, {percent(share)}"
        else:
            says, way = ("yes", "faster") if share > 0 else ("no", "slower")
            text += f"{says}, {abs(saved):.0f} µs a layer {way}"
        wins = sum(line["microseconds"] < line["plain_microseconds"] for line in timed)
        text += f" (median; faster in {wins} of {len(timed)} shapes)"
        if unequal := sum(line.get("equal_bits") is False for line in timed):
            text += f"; **bits differ from run to run in {unequal}**"
        yield text + (f"; {len(broken)} do not run: {broken[0]}" if broken else "")


def range_test(results):
    found = results.data("range test")
    if found:
        peer = next((r for n, r in peer_results(results).items() if n.startswith("find ") and "seconds" in r), None)
        yield (f"range test: {found['seconds']:.2f} s, {found['ratio']:.2f} of its bare steps"
               + (f"; in PyTorch {peer['seconds']:.2f} s" if peer else ""))


def cold_start(results):
    found = results.data("cold start")
    if len(found) == 2:
        without, with_plans = (found[k]["first_step_seconds"] for k in ("without plans", "with plans"))
        yield f"cold start: first step after {without:.1f} s without plans, {with_plans:.1f} s with them"
