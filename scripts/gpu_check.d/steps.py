"""Stages that run training steps. Each takes the machine and returns what was found, as JSON; see results.py for the
exceptions that it may raise."""
import json
import shutil
import statistics
import time

from checks import memcheck
from results import Failure, Skip, Stop, Unfinished

KNOWN_LIMITS = ("--limits", "4300,790")  # where shares of the limit are not asked for: measuring them takes seconds
# Ways round a step that fails: (what is left out, options, variables), the least loss first.
DETOURS = (("one-grid norms", (), {"ONECYCLE_ONE_GRID": "0"}),
           ("branch", (), {"ONECYCLE_BRANCH": "0"}),
           ("branch and one-grid norms", (), {"ONECYCLE_BRANCH": "0", "ONECYCLE_ONE_GRID": "0"}),
           ("graph", ("--no-graph",), {}),
           ("graph and one-grid norms", ("--no-graph",), {"ONECYCLE_ONE_GRID": "0"}))


def smoke(m):
    """One step launched piece by piece, then as a graph, then whether updates took effect."""
    m.detour = ([], {})
    found, bad = {}, []
    for name, words, limit in (("eager", ["--no-graph"], 70), ("graph", [], 40)):  # the first searches for plans
        try:
            found[name] = effective(small_step(m, words, {}, limit))
        except Failure as failure:
            bad.append(f"{name}: {failure}")
    if not bad:
        return found
    why = "; ".join(bad)
    if "graph" in found:  # which is what all else needs
        raise Failure(why, found)
    for left_out, words, variables in DETOURS:
        if left_out == "graph" and "eager" in found:
            way = found["eager"]
        else:
            try:
                way = effective(small_step(m, words, variables, 15))
            except Failure:
                continue
        found.update(goes_on_without=left_out, options=list(words), variables=variables, way=way)
        m.detour = (list(words), variables)
        break
    found["memcheck"] = memcheck(m, m.program("onecycle"), *step_words(m, [] if "eager" in found else ["--no-graph"]))
    if "goes_on_without" not in found:
        raise Stop(why, {**found, "stops": True})
    raise Failure(f"{why}; goes on without: {found['goes_on_without']}", found)


def step_words(m, words):
    return ["profile", "--device", m.device, "--arch", m.arch, "--size", 64, "--batch-size", 64,
            "--precision", "bf16", "--steps", 1, *KNOWN_LIMITS, *words]


def small_step(m, words, variables, limit):
    return m.profile("64:64", "bf16", *KNOWN_LIMITS, *words, steps=1, limit=limit, environment=variables)


def effective(profile):
    """The whole step of a profile, whose updates all took effect."""
    whole = profile["whole_step"]
    if whole["updates"] != whole["launches"] and profile["precision"] != "fp16":
        raise Failure(f"only {whole['updates']} of {whole['launches']} steps took effect", profile)
    return whole


def restore_detour(m, smoke_data):
    """In a later call: the way that the smoke test of an earlier one found."""
    if "goes_on_without" in smoke_data:
        m.detour = (list(smoke_data["options"]), smoke_data["variables"])


def step(case, precision="bf16"):
    """The step's time, and each of its operations'. The plans that the search timed are kept by results.py."""
    def stage(m):
        try:
            p = m.profile(case, precision, limit=75)
        except Failure as failure:
            try:
                pieces = m.profile(case, precision, "--no-graph", limit=25)
            except Failure as other:
                raise Failure(f"{failure}; with --no-graph: {other}") from None
            raise Failure(f"{failure}; with --no-graph it runs", {"without_graph": pieces}) from None
        whole, own = effective(p), [s for s in p["steps"] if s["implementation"] == "own" and s["share"]]
        if not m.detour[0] and (whole["blocking_calls_a_launch"] or whole["calls_a_launch"] != 2):
            raise Failure(f"a launch is {whole['calls_a_launch']} calls, "
                          f"{whole['blocking_calls_a_launch']} of which wait", p)
        large = [s["share"] for s in own if s["bytes"] > 2 * 60e6]  # above the second-level cache, twice
        p["own_share_large"] = statistics.median(large) if large else None
        return p
    return stage


SWITCHES = ("ONECYCLE_BRANCH", "ONECYCLE_ONE_GRID")
# What is switched against what: (its name, the side that is as it stands, the other side), in
# SWITCHES' order.
COMPARED = (("branch", "11", "01"), ("one grid", "11", "10"), ("branch, no one grid", "10", "00"))


def switches(case):
    """Steps with each switch on and off, in turns, so that a card that warms up is fair to both."""
    def stage(m):
        compared = COMPARED[:1] if m.small else COMPARED
        sides = list(dict.fromkeys(side for _, a, b in compared for side in (a, b)))
        sides = [s for s in sides if dict(zip(SWITCHES, s)).items() >= m.detour[1].items()]
        rounds = list(m.known.get("rounds", []))
        number, broken = len(rounds), {}
        while number < (1 if m.small else 3):
            rounds.append({})
            for side in sides if number % 2 == 0 else reversed(sides):
                if side in broken:
                    continue
                late = Unfinished(f"time for {number} of 3 rounds", {"rounds": [r for r in rounds if r]})
                if m.left_of_stage() < 4:
                    raise late
                try:
                    rounds[-1][side] = switched_step(m, case, side)
                except Failure as failure:
                    if m.left_of_stage() < 1:
                        raise late from None
                    rounds[-1][side] = broken[side] = str(failure)
            number += 1
        if broken:
            said = (" ".join(map("=".join, zip(SWITCHES, side))) + f": {why}" for side, why in broken.items())
            raise Failure("; ".join(said)[:500], {"rounds": rounds})
        return {"rounds": rounds}
    return stage


def switched_step(m, case, side):
    p = m.profile(case, "bf16", *KNOWN_LIMITS, steps=100, limit=15, environment=dict(zip(SWITCHES, side)))
    return p["whole_step"]["seconds"]


def cold_start(m):
    """From nothing to the end of the first step, without plans and with those that the first time found."""
    fresh = m.scratch(f"cold-{time.time_ns()}")
    found = {}
    for name in ("without plans", "with plans"):
        start = time.monotonic()
        p = m.profile("128:64", "bf16", *KNOWN_LIMITS, steps=1, environment={"XDG_CACHE_HOME": str(fresh)})
        found[name] = {"first_step_seconds": p["whole_step"]["first_seconds"],
                       "process_seconds_with_profile": time.monotonic() - start}
    return found


def range_test(m):
    data, (size, batch) = m.scratch("demo-data"), m.case("128:64").split(":")
    if not any(data.iterdir()):
        _, code, trouble = m.own("onecycle", "demo-data", data, *(("--images", 4, "--size", 32) if m.small else ()))
        if code:
            raise Failure(trouble)
    steps = 3 if m.small else 100
    out = m.scratch("find") / str(time.time_ns())
    f = m.onecycle("find", data, "--device", m.device, "--arch", m.arch, "--size", size, "--batch-size", batch,
                   "--steps", steps, "--out", out, *(("--freeze", "body") if m.small else ()), *m.detour[0],
                   environment=m.detour[1])
    bare = m.profile("128:64", "bf16", *KNOWN_LIMITS)["whole_step"]["seconds"] * steps
    found = {"steps": f["steps"], "seconds": f["seconds"], "bare_seconds": bare, "ratio": f["seconds"] / bare,
             "no_trace": f["state_digest_before"] == f["state_digest_after"]}
    if not found["no_trace"]:
        raise Failure("the state was not put back", found)
    return found


def ranks(m):
    """Two GPUs, one rank each: the bytes of one rank that accumulates two batches, twice the same, and how fast."""
    mpirun = shutil.which("mpirun")
    if not mpirun:
        raise Skip("mpirun is not here")
    gpus = 2 if m.small else sum(line.startswith("GPU ") for line in m.run(m.tool("nvidia-smi"), "-L")[0].splitlines())
    if gpus < 2:
        raise Skip(f"{gpus} GPU: two are needed")
    data = m.scratch("ranks-data")
    if not any(data.iterdir()):
        _, code, trouble = m.own("onecycle", "demo-data", data, *(("--images", 4, "--size", 16) if m.small else ()))
        if code:
            raise Failure(trouble)
    size, batch = ("16", "2") if m.small else m.case("128:64").split(":")
    words = ["train", data, "--device", m.device, "--arch", "resnet9" if m.small else m.arch, "--size", size,
             "--batch-size", batch, "--epochs", 1, "--max-lr", 0.01, "--deterministic", *m.detour[0]]
    allow = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    found = {}
    two = (mpirun, "-n", 2, "--oversubscribe")
    for name, before, more in (("one rank", (), ("--accumulate", 2)), ("two ranks", two, ()),
                               ("two ranks again", two, ())):
        out = m.scratch("ranks") / str(time.time_ns())
        text, code, trouble = m.run(*before, m.program("onecycle"), *words, *more, "--out", out, "--json",
                                    environment={**m.carried(), **m.detour[1], **allow})
        if code:
            raise Failure(f"{name}: {trouble}", found)
        t = json.loads(text)
        found[name] = {"digest": t["digest"], "images_per_second": t["images_per_second"]}
    found["gpus"] = gpus
    found["ratio"] = found["two ranks again"]["images_per_second"] / found["one rank"]["images_per_second"]
    digests = {found[name]["digest"] for name in ("one rank", "two ranks", "two ranks again")}
    if len(digests) > 1:
        raise Failure("the weights of two ranks are not those of one", found)
    return found


def photographs(m):
    if not m.o.data:
        raise Skip("no folder of photographs: give --data")
    words = ["--size", 224, "--batch-size", 64, "--epochs", 3]
    if m.small:
        words = ["--size", 32, "--batch-size", 8, "--epochs", 1, "--augment", "flip"]
    start = time.monotonic()
    t = m.onecycle("train", m.o.data, "--device", m.device, "--arch", m.arch, "--max-lr", 0.01, *words, *m.detour[0],
                   "--out", m.scratch("train") / str(time.time_ns()), limit=120, environment=m.detour[1])
    return {"images_per_second": [e["images_per_second"] for e in t["epochs"]],
            "process_seconds": time.monotonic() - start, "accuracy": t["epochs"][-1]["accuracy"]}
