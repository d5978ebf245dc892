"""Ten training steps of a ResNet18 with every optimizer and wrapper: losses, weights, statistics.

Run: python tests/reference/generate_training.py [VARIANT...]   (all: about 2 minutes)
Versions used: torch 2.11.0, torchvision 0.26.0, numpy 2.4.6. Writes tests/reference/data/training_*.json,
one file a variant: its options, the rates and momenta of each step, and
    loss, loss_tolerance      of every step, before its update (absolute)
    change                    final minus initial value of every parameter and running statistic, rows
                              [name, sum, norm, dot, [samples], tolerance], see formula.summary
    average                   the same of the moving average, where there is one
"synchronized" is for ranks with SyncBatchNorm, which PyTorch 2.11 has on GPUs alone ("expected input tensor to be on
GPU"). Its definition is batch norm of the whole batch. That this is what ranks make of their parts is checked here:
processes with DistributedDataParallel over gloo that sum up their moments (`--ranks` checks it for SGD's, too).
Weights and running statistics start from the formula, moments at 0. Micro step i (steps count from 0; two
of them a step where `accumulate` is 2) sees images IMAGES.i and labels LABELS.i. The truth is computed in
float64. README.md here tells how the images, the weights and the tolerances were chosen.
"""
import json
import math
import os
import pathlib
import sys
import tempfile

import numpy as np
import torch
import torch.distributed
import torch.distributed.nn

import formula
import networks

torch.set_num_threads(1)
DATA = pathlib.Path(__file__).parent / "data"
STEPS, BATCH, SIZE, CLASSES = 10, 4, 48, 10
NORM_BIAS = 2.0  # most ReLUs stay open, so that ten steps meet no kink
CLASS_WEIGHTS = [0.5, 1.5, 1.0, 0.75, 1.25, 2.0, 0.625, 1.0, 0.875, 1.125]
# Weight decays are larger than anyone's defaults, so that a decay on the wrong tensor shows.
SGD = {"optimizer": "sgd", "max_lr": 0.005, "weight_decay": 1e-2}
VARIANTS = {  # name: (options, images)
    "sgd": (SGD, "images.0"),
    "nesterov": (SGD | {"nesterov": True}, "images.0"),
    "adam": ({"optimizer": "adam", "max_lr": 0.003, "weight_decay": 1e-3}, "images.0"),
    "adamw": ({"optimizer": "adamw", "max_lr": 0.003, "weight_decay": 1e-1}, "images.0"),
    "clip": (SGD | {"clip_norm": 1.0}, "images.0"),
    "accumulate": (SGD | {"accumulate": 2}, "images.0"),
    "smoothing": (SGD | {"label_smoothing": 0.1, "class_weights": CLASS_WEIGHTS}, "images.0"),
    "average": (SGD | {"average_decay": 0.9}, "images.0"),
    "synchronized": (SGD | {"ranks": 3, "batch": 6}, "images.0"),
}
DEFAULTS = {"beta2": 0.99, "epsilon": 1e-5, "nesterov": False, "clip_norm": 0.0, "accumulate": 1,
            "label_smoothing": 0.0, "class_weights": None, "average_decay": 0.0}


def one_cycle(max_lr, steps=STEPS, pct=0.25, div=25.0, final_div=1e4, low=0.85, high=0.95):
    """The default policy `onecycle`: cosine up and down, the last step at the floor, momentum mirrored."""
    def cosine(a, b, q):
        return b + (a - b) / 2 * (1 + math.cos(math.pi * q))
    last, lr, momentum = steps - 1, [], []
    peak = pct * last
    for k in range(steps):
        if k < peak:
            lr.append(cosine(max_lr / div, max_lr, k / peak))
            momentum.append(cosine(high, low, k / peak))
        else:
            lr.append(cosine(max_lr, max_lr / div / final_div, (k - peak) / (last - peak)))
            momentum.append(cosine(low, high, (k - peak) / (last - peak)))
    return lr, momentum


def make_optimizer(model, o):
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim == 1]  # batch norm and biases
    groups = [{"params": decayed}, {"params": free, "weight_decay": 0.0}]
    if o["optimizer"] == "sgd":
        return torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=o["nesterov"], weight_decay=o["weight_decay"])
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[o["optimizer"]]
    return kind(groups, lr=1.0, betas=(0.9, o["beta2"]), eps=o["epsilon"], weight_decay=o["weight_decay"])


def state_of(model):
    return {n: t.detach().double().numpy().copy() for n, t in model.state_dict().items()
            if not n.endswith("num_batches_tracked")}


class BatchStatistics:
    """Running statistics that move once an update, by the mean over its micro batches, as ours do. (PyTorch's own
    move at each micro batch, so that they depend on how an update is cut into batches and spread over GPUs.)"""

    def __init__(self, model):
        self.norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        self.before = [(m.running_mean.clone(), m.running_var.clone(), m.momentum) for m in self.norms]
        self.sums, self.count = [(0.0, 0.0)] * len(self.norms), 0
        for m in self.norms:
            m.momentum = 1.0  # what it then keeps is the batch's own

    def take(self):
        self.sums = [(mean + m.running_mean, var + m.running_var) for m, (mean, var) in zip(self.norms, self.sums)]
        self.count += 1

    def move_once(self):
        for m, (mean, var), (old_mean, old_var, momentum) in zip(self.norms, self.sums, self.before):
            m.running_mean.copy_((1 - momentum) * old_mean + momentum * mean / self.count)
            m.running_var.copy_((1 - momentum) * old_var + momentum * var / self.count)
            m.momentum = momentum


def run(o, images, kind):
    """Losses of the steps, the changes of the state and of its moving average, the kinks' distances."""
    rates, momenta = one_cycle(o["max_lr"])
    with networks.arithmetic(kind) as (dtype, layout):
        model = networks.resnet("resnet18", "imagenet", CLASSES, dtype, NORM_BIAS).to(memory_format=layout).train()
        initial = state_of(model)
        average = torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(o["average_decay"]), use_buffers=True)
        average.n_averaged += 1  # else the first update copies the weights instead of averaging
        kinks = networks.Kinks(model)
        optimizer = make_optimizer(model, o)
        weights = o["class_weights"] and torch.tensor(o["class_weights"], dtype=dtype)
        criterion = torch.nn.CrossEntropyLoss(weights, label_smoothing=o["label_smoothing"])
        losses = []
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = rates[step]
                if o["optimizer"] == "sgd":
                    group["momentum"] = momenta[step]
                else:
                    group["betas"] = (momenta[step], o["beta2"])
            optimizer.zero_grad()
            losses.append(0.0)
            batches = BatchStatistics(model) if o["accumulate"] > 1 else None
            for micro in range(o["accumulate"]):
                i = step * o["accumulate"] + micro
                n = o.get("batch", BATCH)
                x = networks.normalized(f"{images}.{i}", n, SIZE, dtype).contiguous(memory_format=layout)
                loss = criterion(model(x), torch.from_numpy(formula.labels(f"labels.{i}", n, CLASSES)))
                (loss / o["accumulate"]).backward()
                losses[-1] += loss.item() / o["accumulate"]
                if batches:
                    batches.take()
            if batches:
                batches.move_once()
            if o["clip_norm"]:
                torch.nn.utils.clip_grad_norm_(model.parameters(), o["clip_norm"])
            optimizer.step()
            average.update_parameters(model)
    final, mean = state_of(model), state_of(average.module)
    return {"loss": np.array(losses), "change": {n: final[n] - initial[n] for n in initial},
            "average": {n: mean[n] - initial[n] for n in initial}, "kinks": kinks}


class MomentsOfAllRanks(torch.nn.Module):
    """A BatchNorm2d that learns, by the mean and variance of all ranks' batches: forward and, by autograd through the
    sums, backward. The running variance is the unbiased one of all numbers, as SyncBatchNorm's."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = norm.weight, norm.bias, norm.eps, norm.momentum
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)

    def forward(self, x):
        sums = torch.stack([x.sum((0, 2, 3)), x.square().sum((0, 2, 3)),
                            torch.full_like(self.bias, x.numel() / x.shape[1], requires_grad=False)])
        total, squares, count = torch.distributed.nn.all_reduce(sums)
        mean = total / count
        variance = squares / count - mean.square()
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight / (variance + self.eps).sqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - mean * scale).view(1, -1, 1, 1)


def rank_of_job(rank, o, images, file):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577"}
    torch.set_num_threads(1)
    ranks, batch = o["ranks"], o.get("batch", BATCH)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=ranks)
    model = networks.resnet("resnet18", "imagenet", CLASSES, torch.float64, NORM_BIAS).train()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.BatchNorm2d):
                setattr(module, name, MomentsOfAllRanks(child))
    initial = state_of(model)
    spread = torch.nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    optimizer = make_optimizer(model, o)
    rates, momenta = one_cycle(o["max_lr"])
    mine = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"], group["momentum"] = rates[step], momenta[step]
        optimizer.zero_grad()
        x = networks.normalized(f"{images}.{step}", batch, SIZE, torch.float64)[mine]
        loss = torch.nn.functional.cross_entropy(
            spread(x), torch.from_numpy(formula.labels(f"labels.{step}", batch, CLASSES)[mine]))
        loss.backward()
        mean = loss.detach() / ranks
        torch.distributed.all_reduce(mean)
        losses.append(mean.item())
        optimizer.step()
    if rank == 0:
        final = state_of(model)
        np.savez(file, loss=losses, **{"change " + n: final[n] - initial[n] for n in initial})
    torch.distributed.destroy_process_group()


def check_ranks(o, images):
    """Raises unless so many processes train as one with all of their batch."""
    truth = run(o, images, "float64")
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "rank0.npz")
        torch.multiprocessing.spawn(rank_of_job, (o, images, file), o["ranks"])
        found = np.load(file)
        np.testing.assert_allclose(found["loss"], truth["loss"], rtol=1e-9)
        worst = max(float(np.linalg.norm(found["change " + n] - value) / (np.linalg.norm(value) or 1))
                    for n, value in truth["change"].items())
    print(f"{o['ranks']} processes are one with the whole batch: changes differ by {worst:.0e} of their norm",
          flush=True)
    assert worst < 1e-7


def compare(variant, o, images, kinds=networks.FP32):
    """The truth, and what PyTorch's fp32 makes of it: errors of the losses, errors by tensor."""
    truth = run(o, images, "float64")
    others = [run(o, images, kind) for kind in kinds]
    losses = np.max([np.abs(other["loss"] - truth["loss"]) for other in others], axis=0)
    found = {part: networks.errors(truth[part], [other[part] for other in others])
             for part in ("change", "average")[:2 if o["average_decay"] else 1]}
    margin = min(truth["kinks"].margin(other["kinks"]) for other in others)
    print(variant, images, f"loss {truth['loss'][0]:.3f} to {truth['loss'][-1]:.3f}, errors",
          *(f"{v:.0e}" for v in losses), *(f"{part} median {np.median(list(e.values())):.0e} "
          f"worst {max(e.values()):.0e}" for part, e in found.items()), f"kink margin {margin:.1f}", flush=True)
    return truth, losses, found, margin


def write(variant, o, images):
    if "ranks" in o:
        check_ranks(o, images)
    truth, losses, found, margin = compare(variant, o, images)
    if margin < 1.4:
        print(f"  {variant}: a ReLU may switch by rounding; the tolerances, ten times what PyTorch's own fp32 "
              "variants differ by, take that in", flush=True)
    lr, momentum = one_cycle(o["max_lr"])
    # Errors grow from step to step, but by chance not at each: a later step is never held tighter.
    tolerance = 10 * np.maximum.accumulate(np.maximum(losses, 1e-6))
    head = {"variant": variant, "options": o, "arch": "resnet18", "stem": "imagenet",
            "batch": o.get("batch", BATCH), "size": SIZE, "classes": CLASSES, "images": images, "labels": "labels",
            "norm_bias": NORM_BIAS, "lr": lr, "momentum": momentum, "loss": formula.rounded(truth["loss"].tolist(), 10),
            "loss_tolerance": formula.rounded(tolerance.tolist(), 2)}
    text = json.dumps(head)[:-1] + "".join(
        f', "{part}": {networks.lines(networks.rows(truth[part], e))}' for part, e in found.items()) + "}\n"
    path = DATA / f"training_{variant}.json"
    path.write_text(text)
    print(path.name, path.stat().st_size, "bytes")


def main():
    if sys.argv[1:2] == ["--search"]:  # VARIANT FIRST LAST: which images keep away from the kinks
        variant, first, last = sys.argv[2:]
        for i in range(int(first), int(last)):
            compare(variant, DEFAULTS | VARIANTS[variant][0], f"images.{i}", ("contiguous",))
        return
    if sys.argv[1:2] == ["--ranks"]:
        for ranks in (2, 4):
            check_ranks(DEFAULTS | VARIANTS["sgd"][0] | {"ranks": ranks}, VARIANTS["sgd"][1])
        return
    for variant in sys.argv[1:] or VARIANTS:
        options, images = VARIANTS[variant]
        write(variant, DEFAULTS | options, images)


if __name__ == "__main__":  # processes that are spawned import this file
    main()
