"""The training step in PyTorch on a GPU, given its best: what `onecycle profile --device cuda` is held against.

    python bench/pytorch_gpu.py --budget 150 > pytorch.jsonl      # the whole grid, most telling first
    python bench/pytorch_gpu.py --only find                       # a range test as fastai runs it
    python bench/pytorch_gpu.py --data photos                     # a real folder, stock loader
    python bench/pytorch_gpu.py --device cpu --arch resnet18 --precision fp32 --cases 32:4 --steps 2 --warm-up 1 \
        --modes eager                                             # to see that it runs

Prints one JSON object a line, at once: after each block what is known so far, with `more_to_come`; the last line of a
name counts. What --without names is not measured, and after --budget seconds nothing new is begun. Steps: ResNet34,
channels_last, autocast with fp32 weights, label smoothing off, SGD with momentum, fused, its rate a tensor, images of
random numbers that are on the GPU and already normalised. Modes:
    eager, compile (the default), reduce-overhead, max-autotune-no-cudagraphs: as torch.compile names them;
    graph: the compiled step, optimizer included, captured once as one CUDA graph and replayed on one batch.
Times are medians of blocks of steps between two events, with no wait inside; `seconds_before` is what came before the
first timed step: building, compiling, warming up. Versions meant: torch 2.11.0, torchvision 0.26.0.
"""
import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time

import torch
import torch.nn.functional as F

import pytorch_recipe as recipe

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
MODES = ("eager", "compile", "graph", "reduce-overhead", "max-autotune-no-cudagraphs")


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the script out")
    p.add_argument("--arch", choices=recipe.ARCHITECTURES, default="resnet34")
    p.add_argument("--cases", nargs="+", metavar="SIZE:BATCH", default=["224:256", "128:64", "224:64", "64:64"])
    p.add_argument("--precision", nargs="+", choices=TYPES, default=["bf16", "fp16"])
    p.add_argument("--modes", nargs="+", choices=MODES, default=["eager", "compile", "graph", "reduce-overhead"])
    p.add_argument("--steps", type=int, default=70, help="in a block")
    p.add_argument("--blocks", type=int, default=3)
    p.add_argument("--warm-up", type=int, default=30)
    p.add_argument("--without", nargs="*", default=[], metavar="NAME", help="results that are known already")
    p.add_argument("--budget", type=float, default=math.inf, help="seconds after which nothing new is begun")
    p.add_argument("--only", choices=("steps", "find"), default="steps")
    p.add_argument("--data", help="train on this folder with ImageFolder and DataLoader instead")
    p.add_argument("--size", type=int, default=224, help="with --data and find")
    p.add_argument("--batch-size", type=int, default=64, help="with --data and find")
    p.add_argument("--epochs", type=int, default=2, help="with --data")
    p.add_argument("--find-steps", type=int, default=100)
    p.add_argument("--workers", type=int, default=min(16, os.cpu_count()), help="with --data")
    return p.parse_args()


class Training:
    """One network, its optimizer and its step."""

    def __init__(self, o, precision, mode, classes=1000):
        torch._dynamo.reset()
        torch.manual_seed(0)
        self.device, self.type = o.device, TYPES[precision]
        self.net = recipe.model(o.arch, classes).train().to(o.device, memory_format=torch.channels_last)
        rate = torch.tensor(1e-3, device=o.device)
        self.opt = torch.optim.SGD(recipe.parameter_groups(self.net, 1e-4), lr=rate, momentum=0.9, fused=True)
        self.scaler = torch.amp.GradScaler(o.device, enabled=precision == "fp16")
        if mode == "eager":
            self.forward = self.loss
        else:
            named = None if mode in ("compile", "graph") else mode
            self.forward = torch.compile(self.loss, mode=named, fullgraph=True, dynamic=False)
        self.graph = None

    def loss(self, x, y):
        with torch.autocast(self.device, dtype=self.type, enabled=self.type != torch.float32):
            return F.cross_entropy(self.net(x), y)

    def step(self, x, y):
        self.opt.zero_grad(set_to_none=True)
        loss = self.forward(x, y)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.opt)
        self.scaler.update()
        return loss

    def capture(self, x, y, warm_up):
        """After a warm-up on a side stream, as PyTorch's notes on graphs ask for."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(warm_up):
                self.step(x, y)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        self.opt.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            self.step(x, y)


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def block_seconds(device, steps, step):
    """Seconds a step of a block; the GPU's clock where there is one."""
    if device == "cpu":
        start = time.perf_counter()
        for i in range(steps):
            step(i)
        return (time.perf_counter() - start) / steps
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for i in range(steps):
        step(i)
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3 / steps


def batches(o, size, batch, classes=1000, count=4):
    x = [torch.randn(batch, 3, size, size, device=o.device).contiguous(memory_format=torch.channels_last)
         for _ in range(count)]
    return x, [torch.randint(classes, (batch,), device=o.device) for _ in range(count)]


def measure_steps(o, size, batch, precision, mode):
    start = time.perf_counter()
    x, y = batches(o, size, batch)
    training = Training(o, precision, mode)
    if mode == "graph":
        training.capture(x[0], y[0], o.warm_up)
        step = lambda i: training.graph.replay()
    else:
        step = lambda i: training.step(x[i % len(x)], y[i % len(y)])
    for i in range(o.warm_up):
        step(i)
    wait(o.device)
    before = time.perf_counter() - start
    times = []
    for block in range(o.blocks):
        times.append(block_seconds(o.device, o.steps, step))
        seconds = statistics.median(times)
        yield {"seconds": seconds, "images_per_second": batch / seconds, "blocks": times, "seconds_before": before,
               "more_to_come": block + 1 < o.blocks}


def measure_find(o):
    """fastai's range test around the eager step: files for the state, a loss read every step."""
    steps = o.find_steps
    x, y = batches(o, o.size, o.batch_size)
    training = Training(o, o.precision[0], "eager")
    bare = lambda i: training.step(x[i % len(x)], y[i % len(y)])
    for i in range(o.warm_up):
        bare(i)
    bare_seconds = steps * block_seconds(o.device, steps, bare)
    wait(o.device)
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save({"model": training.net.state_dict(), "opt": training.opt.state_dict()}, file.name)
        smoothed, losses = 0.0, []
        for i in range(steps):
            for group in training.opt.param_groups:
                group["lr"].fill_(1e-7 * (10 / 1e-7) ** (i / max(steps - 1, 1)))
            loss = bare(i).item()
            smoothed = 0.98 * smoothed + 0.02 * loss
            losses.append(smoothed / (1 - 0.98 ** (i + 1)))  # going on after a divergence: all steps are timed
        state = torch.load(file.name, weights_only=True)
        training.net.load_state_dict(state["model"])
        training.opt.load_state_dict(state["opt"])
    wait(o.device)
    yield {"seconds": time.perf_counter() - start, "bare_seconds": bare_seconds, "steps": len(losses)}


def measure_folder(o):
    dataset, _ = recipe.datasets(o.data, "standard", o.size, 0.875)
    loader = torch.utils.data.DataLoader(
        dataset, o.batch_size, shuffle=True, drop_last=True, num_workers=o.workers, pin_memory=o.device == "cuda",
        persistent_workers=o.workers > 0, prefetch_factor=4 if o.workers else None)
    start = time.perf_counter()
    training = Training(o, o.precision[0], "compile" if o.device == "cuda" else "eager", len(dataset.classes))
    first, epochs = None, []
    for epoch in range(o.epochs):
        begin, count = time.perf_counter(), 0
        for x, y in loader:
            x = x.to(o.device, memory_format=torch.channels_last, non_blocking=True)
            training.step(x, y.to(o.device, non_blocking=True))
            count += len(y)
            if first is None:
                wait(o.device)
                first = time.perf_counter() - start
        wait(o.device)
        epochs.append(count / (time.perf_counter() - begin))
        yield {"seconds": time.perf_counter() - start, "images_per_second": epochs[-1], "epochs": epochs,
               "first_step_seconds": first, "workers": o.workers, "more_to_come": epoch + 1 < o.epochs}


def units(o):
    """(name, what measures it), the most telling first: all modes of the first case, then the next."""
    if o.data:
        return [(f"folder {o.size}:{o.batch_size} {o.precision[0]}", lambda: measure_folder(o))]
    if o.only == "find":
        return [(f"find {o.size}:{o.batch_size} {o.precision[0]}", lambda: measure_find(o))]
    found = []
    for precision in o.precision:
        for case in o.cases:
            size, batch = map(int, case.split(":"))
            for mode in o.modes:
                if mode != "graph" or o.device == "cuda":
                    found.append((f"step {case} {precision} {mode}",
                                  lambda s=size, b=batch, p=precision, m=mode: measure_steps(o, s, b, p, m)))
    return found


def main():
    o = options()
    start = time.perf_counter()
    torch.backends.cudnn.benchmark = True
    where = torch.cuda.get_device_name() if o.device == "cuda" else "cpu"
    tool = f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    about = {"tool": tool, "device": where, "arch": o.arch}

    def say(name, result):
        print(json.dumps({"name": name, **about, **result}), flush=True)
    left = [(name, measure) for name, measure in units(o) if name not in o.without]
    for i, (name, measure) in enumerate(left):
        if time.perf_counter() - start > o.budget:
            print(f"no time for {len(left) - i} of {len(left)}: {', '.join(n for n, _ in left[i:])}", file=sys.stderr)
            break
        try:
            for result in measure():
                say(name, result)
        except Exception as error:  # a mode that fails is a result, too
            say(name, {"error": f"{type(error).__name__}: {error}"[:500]})
        if o.device == "cuda":
            torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())
