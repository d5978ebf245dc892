"""The readable page of what was found, and the files that can be kept under bench/results/ as they are."""
import json
import re
import statistics

from decisions import decisions, peer_results
from machine import ROOT
from results import NO_TIME, RUNNING, SKIPPED


def table(head, rows):
    def line(cells):
        return "| " + " | ".join(str(c).replace("|", "/").replace("\n", " ") for c in cells) + " |"
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)]) + "\n\n" if rows else ""


def kernel_table(profile):
    """The operations of a step, together by kind: time, what they move, how near the limit."""
    kinds = {}
    for s in profile["steps"]:
        k = kinds.setdefault(s["operation"], [0, 0.0, 0.0, 0.0])
        for i, value in enumerate((1, s["seconds"] or 0, s["bytes"], s["limit_seconds"])):
            k[i] += value
    rows = []
    for name, (n, seconds, size, limit) in sorted(kinds.items(), key=lambda item: -item[1][1]):
        share = f"{100 * limit / seconds:.0f} %" if profile["limits"]["of_this_device"] else ""
        rows.append((name, n, f"{seconds * 1e6:.1f}", f"{size / 1e6:.1f}", f"{size / seconds / 1e9:.0f}", share))
    return table(("operation", "steps", "µs", "MB", "GB/s", "of the limit"), rows)


def plan_table(profile):
    """Convolutions by shape: the plan that won, its median time and rate."""
    groups = {}
    for s in profile["steps"]:
        if s["operation"].startswith("conv2d"):
            groups.setdefault((s["operation"], s["shape"], s["implementation"]), []).append(s)
    rows = []
    for key, group in groups.items():
        seconds = statistics.median(s["seconds"] for s in group)
        rows.append((*key, f"{seconds * 1e6:.1f}", f"{group[0]['flops'] / seconds / 1e12:.0f}"))
    return table(("pass", "shape", "plan", "µs", "TFLOP/s"), rows)


FUSED = """## Fused graphs

`plain_microseconds`: the fastest plain convolution, and what kernels of their own would move beside it at the speed of
a copy that was timed here.

"""


class Page:
    def __init__(self, results):
        self.results, self.stages, self.peers = results, results.stages, peer_results(results)

    def text(self):
        parts = [f"# {title(self.results)}\n\n"]
        if self.results.device == "emulated":
            parts.append("**A rehearsal on the emulator, at toy sizes. No number here says anything about a GPU.**\n\n")
        parts += [self.head(), "## What follows from it\n\n",
                  "".join(f"- {line}\n" for line in decisions(self.results)) or "Nothing yet.\n", "\n",
                  self.steps(), self.profiles(), self.plans(), self.fusions(), self.ladder(), self.photographs(),
                  "## What was done\n\n",
                  table(("stage", "", "seconds", ""),
                        [(n, r["state"], r["seconds"], r["why"]) for n, r in self.stages.items()]), self.left_out()]
        return "".join(parts)

    def head(self):
        lines = [f"- {name}: {value}" for name, value in versions(self.results).items()]
        calls = "".join(f"    {call['command']}  # {call['date']}\n" for call in self.results.calls)
        warnings = [*self.results.warnings, *(f"{name} was not written: {why}"
                                              for name, why in self.results.disk.trouble.items())]
        return "\n".join([*lines, *(f"- **{warning}**" for warning in warnings)]) + f"\n\n{calls}\n"

    def steps(self):
        rows = []
        for name, stage in self.stages.items():
            whole = (stage["data"] or {}).get("whole_step") if name.startswith("step ") else None
            if not whole:
                continue
            case = " ".join(name.split()[1:3])
            peers = {n.split(maxsplit=3)[3]: r["images_per_second"] for n, r in self.peers.items()
                     if n.startswith(f"step {case} ") and "images_per_second" in r}
            best, ours = max(peers, key=peers.get, default=None), whole["images_per_second"]
            rows.append((name[5:], f"{ours:.0f}", f"{peers['eager']:.0f}" if "eager" in peers else "",
                         f"{peers[best]:.0f} ({best})" if best else "", f"{ours / peers[best]:.2f}" if best else "",
                         whole["calls_a_launch"], whole["blocking_calls_a_launch"]))
        text = "## Training steps, images/s\n\nsize:batch, synthetic images on the device.\n\n" + table(
            ("case", "onecycle", "PyTorch eager", "PyTorch best", "ratio", "calls a step", "that wait"), rows)
        failed = [(n, r["error"]) for n, r in self.peers.items() if "error" in r]
        return (text if rows else "") + ("PyTorch could not:\n\n" + table(("what", "why"), failed) if failed else "")

    def profiles(self):
        text = ""
        for case in ("224:256 bf16", "128:64 bf16", "64:64 bf16", "224:256 fp16"):
            profile = self.results.data(f"step {case}")
            if "steps" not in profile:
                continue
            limits, share = profile["limits"], profile.get("own_share_large")
            text += (f"## Where the time goes, {case}\n\nLimits: {limits['bytes_per_second'] / 1e9:.0f} GB/s, "
                     f"{limits['flops_per_second'] / 1e12:.0f} TFLOP/s ({limits['source']}).")
            if share:
                text += f" Own kernels on tensors above the cache: median {100 * share:.0f} % of the copy."
            text += "\n\n" + kernel_table(profile)
            text += "Convolutions, by the plan that was chosen:\n\n" + plan_table(profile)
        return text

    def plans(self):
        rows = []
        for key, search in self.results.searches.items():
            best = min(search, key=lambda timed: timed["milliseconds"])
            first, fastest = (timed["milliseconds"] * 1e3 for timed in (search[0], best))
            rows.append((key, len(search), f"{first:.1f}", f"{fastest:.1f}", f"{first / fastest:.2f}", best["plan"]))
        return "## What the search for plans was worth\n\nMedians, second-level cache cold.\n\n" + table(
            ("convolution", "plans", "cuDNN's first, µs", "fastest, µs", "gain", "fastest plan"), rows) if rows else ""

    def fusions(self):
        names = ("graph", "dtype", "n", "c", "h", "w", "k", "r", "stride", "engine", "plans", "microseconds",
                 "plain_microseconds", "equal_bits", "error")
        lines = self.results.data("fusions").get("lines", [])
        rows = [tuple("" if line.get(k) is None else line[k] for k in names) for line in lines]
        return FUSED + table(names, rows) if rows else ""

    def ladder(self):
        text = self.results.data("ladder").get("text")
        return f"## The ladder of kernels\n\n{text.strip()}\n\n" if text else ""

    def photographs(self):
        p = self.results.data("photographs")
        peer = next((r for n, r in self.peers.items() if n.startswith("folder ") and "epochs" in r), None)
        if not p:
            return ""
        rates = [("onecycle", p["images_per_second"])]
        if peer:
            rates.append((f"ImageFolder and DataLoader, {peer['workers']} workers", peer["epochs"]))
        return "## A folder of photographs\n\n" + table(
            ("", "images/s by epoch"), [(name, ", ".join(f"{v:.0f}" for v in values if v)) for name, values in rates])

    def left_out(self):
        left = [f"- {name}: {r['why']}" for name, r in self.stages.items() if r["state"] in (NO_TIME, RUNNING, SKIPPED)]
        return "## What did not fit or could not run here\n\n" + ("\n".join(left) or "Nothing.") + "\n"


def title(results):
    gpu = results.data("machine").get("gpu")
    first = results.calls[0]["date"][:10] if results.calls else ""
    return f"onecycle on {'the emulator' if results.device == 'emulated' else gpu or 'a GPU'}, {first}"


def versions(results):
    """What it ran on and with, for people."""
    machine = results.data("machine")
    doctor = machine.get("doctor") or {}
    found = {"commit": results.commit, "nvidia-smi": (machine.get("nvidia-smi") or "").replace("\n", "; ")}
    for name, value in (doctor.get("libraries") or {}).items():
        if name.lower().startswith(("cudnn", "cublas")):
            found[name] = value
    cuda = doctor.get("cuda") or {}
    found.update({"CUDA of the driver": cuda.get("driver_cuda"), "CUDA of the toolkit": cuda.get("toolkit")})
    found["PyTorch"] = next((r["tool"] for r in peer_results(results).values() if "tool" in r), None)
    return {name: value for name, value in found.items() if value}


def pages(results):
    """What stands beside results.json after every stage."""
    return {"report.md": kept(results, Page(results).text())}


def keepsakes(results):
    """The same for good: a page and its data, by date and GPU, as they may lie under bench/results/."""
    gpu = "emulated" if results.device == "emulated" else results.data("machine").get("gpu", "unknown")
    name = f"{results.calls[0]['date'][:10]}-gpu-{re.sub('[^a-z0-9]+', '-', gpu.lower()).strip('-')}"
    data = {"calls": results.calls, "versions": versions(results), "decisions": decisions(results),
            "searches": results.searches, "stages": results.stages}
    return {f"{name}.md": kept(results, Page(results).text()), f"{name}.json": kept(results, json.dumps(data)) + "\n"}


def kept(results, text):
    """Without the places of the machine that it ran on."""
    for place in (ROOT, results.disk.folder.resolve()):
        text = text.replace(f"{place}/", "")
    return text
