"""Bare training steps, ours and PyTorch's, in turns: a Markdown table of images per second and their ratio.

    scripts/build
    python bench/compare_cpu.py --rounds 3 --out bench/results/speed.json resnet34:64:64 resnet34:224:16

A case is arch:size:batch. Each round runs onecycle, then PyTorch in the memory layout that was faster in a
first trial; every run is the median of its steps, the table shows the median of the rounds. Other work on the
machine disturbs both alike, so the ratio is steadier than either number. OpenMP's threads spin as briefly on
both sides as the `onecycle` program lets them: on a loaded machine long spinning slows both.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

from markdown_table import results, table

HERE = pathlib.Path(__file__).parent
LAYOUTS = ("contiguous", "channels_last")


def output_of(command):
    environment = {"GOMP_SPINCOUNT": "10000", **os.environ}
    return subprocess.run(command, check=True, text=True, env=environment, stdout=subprocess.PIPE).stdout


def ours(o, arch, size, batch):
    text = output_of([o.onecycle, "profile", "--device", "cpu", "--json", "--arch", arch, "--size", size,
                      "--batch-size", batch, "--steps", str(o.steps), "--threads", str(o.threads), "--limits", "1,1"])
    return json.loads(text)["whole_step"]["images_per_second"]


def pytorchs(o, arch, size, batch, layout):
    command = [sys.executable, HERE / "pytorch_cpu.py", "--synthetic", str(o.steps), "--arch", arch, "--size", size,
               "--batch-size", batch, "--threads", str(o.threads), "--layout", layout]
    result = json.loads(output_of(command))
    return result["images_per_second"], f"{result['tool']}, {result['machine']}"


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def tables(measured=None):
    """The table of the page, by name; measured: what --out holds, by default bench/results/speed.json."""
    cases = (measured or results("speed"))["cases"]
    rows = [[c["network"], c["px"], c["batch"], f"{c['onecycle']:.1f}", f"{c['pytorch']:.1f}", c["layout"],
             f"{c['ratio']:.2f}", f"{c['least_ratio']:.2f} to {c['greatest_ratio']:.2f}"] for c in cases]
    header = "network | px | batch | onecycle | PyTorch | its layout | ratio | ratios of the rounds"
    return {"speed": table(header, rows)}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("cases", nargs="+", metavar="arch:size:batch")
    p.add_argument("--onecycle", default="build/onecycle", help="our program")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=7, help="timed steps of a run")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--out", help="what was measured, as JSON")
    o = p.parse_args()
    cases, tool = [], ""
    for case in o.cases:
        arch, size, batch = case.split(":")
        layout = max(LAYOUTS, key=lambda name: pytorchs(o, arch, size, batch, name)[0])
        a, b = [], []
        for _ in range(o.rounds):
            a.append(ours(o, arch, size, batch))
            speed, tool = pytorchs(o, arch, size, batch, layout)
            b.append(speed)
            print(f"{case}: onecycle {a[-1]:.1f}, PyTorch {speed:.1f} ({layout})", file=sys.stderr, flush=True)
        ratios = [x / y for x, y in zip(a, b)]
        cases.append({"network": arch, "px": int(size), "batch": int(batch), "layout": layout,
                      "onecycle": statistics.median(a), "pytorch": statistics.median(b),
                      "ratio": statistics.median(ratios), "least_ratio": min(ratios), "greatest_ratio": max(ratios)})
    measured = {"machine": processor(), "threads": o.threads, "pytorch": tool, "rounds": o.rounds, "steps": o.steps,
                "unit": "images per second of training steps, medians of the rounds", "cases": cases}
    if o.out:
        pathlib.Path(o.out).write_text(json.dumps(measured, indent=1) + "\n")
    print(f"{measured['machine']}, {o.threads} threads; {tool}; {o.rounds} rounds; {measured['unit']}.\n")
    print(tables(measured)["speed"])


if __name__ == "__main__":
    main()
