"""Stages that run bench/pytorch_gpu.py: what ours is held against."""
from machine import ROOT, json_lines
from results import Failure, Skip, Unfinished

TINY = ("--device", "cpu", "--precision", "fp32", "--steps", 1, "--warm-up", 1, "--blocks", 1, "--find-steps", 2)


def pytorch(m, words, names, small=()):
    """Its results by name, `names` those that make the stage complete; what it printed is kept, however it ended."""
    if not m.python:
        raise Skip("no Python that has PyTorch")
    known = {r["name"]: r for r in m.known.get("results", [])}
    more = ["--arch", m.arch, *(TINY if m.small else ()), *(small if m.small else ())]
    text, code, trouble = m.run(m.python, ROOT / "bench" / "pytorch_gpu.py", *words, *more,
                                "--without", *[n for n, r in known.items() if whole(r)],
                                "--budget", f"{0.9 * m.left_of_stage():.0f}", limit=600)
    for line in json_lines(text):
        if "name" in line:
            known[line["name"]] = line
    data = {"results": list(known.values())}
    if code:
        raise Failure(trouble, data)
    if left := [n for n in names if not m.small and not whole(known.get(n))]:
        raise Unfinished(f"no time for {', '.join(left)}", data)
    if not known:
        raise Failure("it printed nothing", data)
    return data


def whole(result):
    return bool(result) and not result.get("more_to_come")


def steps(case, *modes, precision="bf16"):
    names = [f"step {case} {precision} {mode}" for mode in modes]
    words = ("--cases", case, "--precision", precision, "--modes", *modes)
    return lambda m: pytorch(m, words, names, small=("--cases", "32:2", "--modes", "eager"))


def range_test(m):
    return pytorch(m, ("--only", "find", "--size", 128, "--batch-size", 64), ["find 128:64 bf16"],
                   small=("--size", 32, "--batch-size", 2))


def photographs(m):
    if not m.o.data:
        raise Skip("no folder of photographs: give --data")
    return pytorch(m, ("--data", m.o.data, "--epochs", 2), ["folder 224:64 bf16"],
                   small=("--size", 32, "--batch-size", 32, "--workers", 1))
