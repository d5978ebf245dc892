"""The readable page of scripts/gpu_check, from the stages of its results.json."""
import statistics


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


class Page:
    def __init__(self, stages, device):
        self.stages, self.device = stages, device
        self.peers = {}  # PyTorch's results by name
        for name in ("PyTorch steps", "range test in PyTorch", "photographs in PyTorch"):
            self.peers.update((r["name"], r) for r in self.data(name).get("results", []))

    def data(self, name):
        return (self.stages.get(name) or {}).get("data") or {}

    def peer(self, start):
        return next((r for name, r in self.peers.items() if name.startswith(start) and "error" not in r), None)

    def text(self):
        parts = ["# GPU check\n\n"]
        if self.device == "emulated":
            parts.append("**Run on the emulator, at toy sizes, to try the script out. No number here says anything about a "
                         "GPU.**\n\n")
        parts += [f"```\n{self.data('machine').get('nvidia-smi') or 'no nvidia-smi'}\n```\n\n",
                  "## What was done\n\n",
                  table(("stage", "", "seconds", ""),
                        [(n, r["state"], r["seconds"], r["why"]) for n, r in self.stages.items()]),
                  self.steps(), self.profiles(), self.plans(), self.find(), self.cold_start(), self.deterministic(),
                  self.ladder(), self.photographs(), self.left_out()]
        return "".join(parts)

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
        return text + ("PyTorch could not:\n\n" + table(("what", "why"), failed) if failed else "")

    def profiles(self):
        text = ""
        for case in ("224:256 bf16", "128:64 bf16"):
            profile = self.data(f"step {case}")
            if not profile:
                continue
            limits, share = profile["limits"], profile.get("own_share_large")
            text += (f"## Where the time goes, {case}\n\nLimits: {limits['bytes_per_second'] / 1e9:.0f} GB/s, "
                     f"{limits['flops_per_second'] / 1e12:.0f} TFLOP/s ({limits['source']}).")
            if share:
                text += f" Own kernels on tensors above the cache: median {100 * share:.0f} % of the copy."
            text += "\n\n" + kernel_table(profile) + "Convolutions, by the plan that was chosen:\n\n" + plan_table(profile)
        return text

    def plans(self):
        rows = []
        for key, search in self.data("plans that were timed").get("searches", {}).items():
            best = min(search, key=lambda timed: timed["milliseconds"])
            first, fastest = (timed["milliseconds"] * 1e3 for timed in (search[0], best))
            rows.append((key, len(search), f"{first:.1f}", f"{fastest:.1f}", f"{first / fastest:.2f}", best["plan"]))
        return "## What the search for plans was worth\n\nMedians, second-level cache cold.\n\n" + table(
            ("convolution", "plans", "cuDNN's first, µs", "fastest, µs", "gain", "fastest plan"), rows) if rows else ""

    def find(self):
        f, peer = self.data("range test"), self.peer("find ")
        if not f:
            return ""
        text = (f"## Range test\n\n{f['steps']} steps: {f['seconds']:.2f} s; bare steps: {f['bare_seconds']:.2f} s; ratio "
                f"{f['ratio']:.2f}. ")
        text += "The state was put back bit for bit." if f["no_trace"] else "**The state was not put back.**"
        if peer:
            text += (f" A fastai-style loop in PyTorch: {peer['seconds']:.2f} s, its bare steps "
                     f"{peer['bare_seconds']:.2f} s.")
        return text + "\n\n"

    def cold_start(self):
        rows = [(name, f"{r['first_step_seconds']:.2f}") for name, r in self.data("cold start").items()]
        return "## From nothing to the end of the first step\n\n" + table(("", "seconds"), rows) if rows else ""

    def deterministic(self):
        rows = [(name, f"{r['images_per_second']:.0f}") for name, r in self.data("deterministic plans").items()]
        return "## Deterministic plans\n\n" + table(("", "images/s"), rows) if rows else ""

    def ladder(self):
        text = self.data("ladder").get("text")
        return f"## The ladder of kernels\n\n{text.strip()}\n\n" if text else ""

    def photographs(self):
        p, peer = self.data("photographs"), self.peer("folder ")
        if not p:
            return ""
        rates = [("onecycle", p["images_per_second"])]
        if peer:
            rates.append((f"ImageFolder and DataLoader, {peer['workers']} workers", peer["epochs"]))
        return "## A folder of photographs\n\n" + table(
            ("", "images/s by epoch"), [(name, ", ".join(f"{v:.0f}" for v in values if v)) for name, values in rates])

    def left_out(self):
        left = [f"{name}: {r['why']}" for name, r in self.stages.items() if r["state"] == "no time"]
        return "## What did not fit\n\n" + ("\n".join(f"- {name}" for name in left) or "Nothing.") + "\n"
