"""The same training in PyTorch on the CPU: what our accuracy and speed are held against.

    python bench/pytorch_cpu.py --data photos --size 64 --epochs 6 --max-lr 0.01
    python bench/pytorch_cpu.py --synthetic 15 --size 64       # bare steps, no data: images/s
Prints JSON with the fields of `onecycle train --json`. Eager mode, fp32. It is given its best: the number
of loader workers (0, 1, 2) and the memory layout that are faster here, unless they are chosen, and the
fused optimizer. Versions used: torch 2.11.0, torchvision 0.26.0, Pillow 13.0.0.
"""
import argparse
import copy
import json
import platform
import statistics
import sys
import time

import torch
import torchvision

import pytorch_recipe as recipe

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--data", help="folder with train/ and val/, valid/ or test/")
    p.add_argument("--arch", choices=recipe.ARCHITECTURES, default="resnet34")
    p.add_argument("--stem", choices=("imagenet", "small"), default="imagenet")
    p.add_argument("--size", type=int, default=224)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--max-lr", type=float)
    p.add_argument("--weight-decay", type=float, default=1e-4)
    p.add_argument("--label-smoothing", type=float, default=0.0)
    p.add_argument("--augment", choices=("none", "flip", "standard"), default="standard")
    p.add_argument("--crop-pct", type=float, default=0.875)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=0, help="0: all cores")
    p.add_argument("--workers", type=int, help="loader processes; default: the fastest of 0, 1, 2")
    p.add_argument("--layout", choices=LAYOUTS, help="default: the faster one")
    p.add_argument("--max-steps", type=int, help="stop early, to try the script out")
    p.add_argument("--synthetic", type=int, metavar="N", help="time N steps on random numbers instead of training")
    p.add_argument("--json", help="write the JSON here instead of stdout")
    o = p.parse_args()
    if o.synthetic is None and (o.data is None or o.max_lr is None):
        p.error("--data and --max-lr are needed, or --synthetic")
    return o


def note(*text):
    print(*text, file=sys.stderr, flush=True)


def bare_steps(o, layout, classes, steps, warm_up=3):
    """Images per second of forward, backward and update: the median of `steps` steps."""
    net = recipe.model(o.arch, classes, o.stem).train().to(memory_format=LAYOUTS[layout])
    opt = recipe.optimizer(net, o.weight_decay)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=o.label_smoothing)
    x = torch.randn(o.batch_size, 3, o.size, o.size).contiguous(memory_format=LAYOUTS[layout])
    y = torch.randint(classes, (o.batch_size,))
    seconds = []
    for _ in range(warm_up + steps):
        start = time.perf_counter()
        recipe.train_step(net, opt, criterion, x, y, 1e-3, 0.9)
        seconds.append(time.perf_counter() - start)
    return o.batch_size / statistics.median(seconds[warm_up:])


def best_layout(o, classes, steps):
    """The faster layout and the images per second of both, measured in turns: other work disturbs both."""
    names = [o.layout] if o.layout else list(LAYOUTS)
    speeds = {n: max(bare_steps(o, n, classes, steps) for _ in range(2)) for n in names}
    return max(speeds, key=speeds.get), speeds


def best_workers(o, dataset, net, layout, steps=6, warm_up=2):
    """The number of loader processes with which real training steps are fastest; `net` is not changed."""
    if o.workers is not None:
        return o.workers
    speeds = {}
    for workers in (0, 1, 2):
        trial = copy.deepcopy(net)
        opt = recipe.optimizer(trial, o.weight_decay)
        batches = iter(recipe.loader(dataset, o.batch_size, True, workers, o.seed))
        start = count = 0
        for i, (x, y) in enumerate(batches):
            if i == warm_up:
                start, count = time.perf_counter(), 0
            recipe.train_step(trial, opt, torch.nn.CrossEntropyLoss(), x.contiguous(memory_format=LAYOUTS[layout]), y, 0.0, 0.9)
            count += len(x)
            if i + 1 == warm_up + steps:
                break
        speeds[workers] = count / (time.perf_counter() - start)
    note("images/s by loader workers:", {k: round(v, 1) for k, v in speeds.items()})
    return max(speeds, key=speeds.get)


@torch.inference_mode()
def evaluate(net, batches, layout):
    """(mean loss without smoothing, accuracy) over the whole set."""
    net.eval()
    loss = correct = count = 0
    for x, y in batches:
        logits = net(x.contiguous(memory_format=LAYOUTS[layout]))
        loss += torch.nn.functional.cross_entropy(logits, y, reduction="sum").item()
        correct += (logits.argmax(1) == y).sum().item()
        count += len(y)
    return loss / count, correct / count


def train(o):
    training, held_out = recipe.datasets(o.data, o.augment, o.size, o.crop_pct)
    classes = len(training.classes)
    layout = o.layout or best_layout(o, classes, 3)[0]
    torch.manual_seed(o.seed)
    net = recipe.model(o.arch, classes, o.stem).train().to(memory_format=LAYOUTS[layout])
    workers = best_workers(o, training, net, layout)
    torch.manual_seed(o.seed)  # equal augmentation however the workers were chosen
    batches = recipe.loader(training, o.batch_size, True, workers, o.seed)
    held_out = recipe.loader(held_out, o.batch_size, False, workers, o.seed)
    opt = recipe.optimizer(net, o.weight_decay)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=o.label_smoothing)
    steps, step, epochs, begin = o.epochs * len(batches), 0, [], time.perf_counter()
    note(f"{len(training)} images, {len(held_out.dataset)} held out, {classes} classes, {steps} steps, "
         f"{layout}, {workers} workers")
    for epoch in range(1, o.epochs + 1):
        net.train()
        losses, count, start = [], 0, time.perf_counter()
        for x, y in batches:
            lr, momentum = recipe.one_cycle(step, steps, o.max_lr)
            losses.append(recipe.train_step(net, opt, criterion, x.contiguous(memory_format=LAYOUTS[layout]), y, lr, momentum))
            step, count = step + 1, count + len(x)
            if step == o.max_steps:
                break
        trained = time.perf_counter() - start
        valid_loss, accuracy = evaluate(net, held_out, layout)
        epochs.append({"epoch": epoch, "train_loss": statistics.fmean(losses), "valid_loss": valid_loss,
                       "accuracy": accuracy, "lr": lr, "images_per_second": count / trained,
                       "seconds": time.perf_counter() - start})
        note(", ".join(f"{k} {v:.4g}" for k, v in epochs[-1].items()))
        if step == o.max_steps:
            break
    seconds = time.perf_counter() - begin
    return {"epochs": epochs, "max_lr": o.max_lr, "seconds": seconds, "layout": layout, "workers": workers,
            "images_per_second": statistics.median(e["images_per_second"] for e in epochs)}


def main():
    o = options()
    if o.threads:
        torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    result = {"tool": f"torch {torch.__version__}, torchvision {torchvision.__version__}", "arch": o.arch,
              "size": o.size, "batch_size": o.batch_size, "seed": o.seed, "threads": torch.get_num_threads(),
              "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"}
    if o.synthetic is not None:
        best, speeds = best_layout(o, 10, o.synthetic)
        result |= {"synthetic": speeds, "layout": best, "images_per_second": speeds[best]}
    else:
        result |= train(o)
    text = json.dumps(result, indent=1)
    if o.json:
        with open(o.json, "w") as file:
            file.write(text + "\n")
    else:
        print(text)


main()
