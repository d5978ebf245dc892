#!/usr/bin/env python3
"""Which point of the range-test curve should `--max-lr auto` train with? Chosen by measured regret.

For each cell (data set, batch size, from scratch or from trained weights, seed) this runs one range test
and one one-cycle training at each rate of a grid. A candidate's validation loss is read off the grid
(linear in log10 of the rate); its regret is that loss minus the best of the grid. The rule with the lowest
median regret wins; the worst case is shown beside it, because training too high costs more than too low.

    python bench/study_auto_lr.py --binary build/onecycle --flowers DIR --cifar DIR --out bench/results/auto_lr.json

DIR: image folders with train/ and val/ (or test/). Only the standard library is used. The output is written
after every cell, and cells that are in it already are not run again: without data folders the table of what is there
is printed, the stored curves analysed anew by the binary.
"""
import math
import os
import statistics
import tempfile
import time

from runs import Kept, arguments, run, subset

GRID = [1e-3, 3e-3, 1e-2, 2e-2, 4e-2, 1e-1, 3e-1]


def candidates(find):
    s, rules = find["suggestion"], find["rules"]
    out = {"lowest": find["lowest"], **{f"fastai {r}": rules[r] for r in ("valley", "slide", "minimum", "steep")}}
    if s:
        out["steepest"] = s["lr"]
        out["high end of the range"] = s["high"]
        if find["lowest"]:
            out["sqrt(steepest*lowest)"] = math.sqrt(s["lr"] * find["lowest"])
        if find["edge"]:
            out["sqrt(steepest*edge)"] = math.sqrt(s["lr"] * find["edge"])
            out["sqrt(lowest*edge)"] = math.sqrt(find["lowest"] * find["edge"])
            out["the same, at most 32*steepest"] = min(out["sqrt(lowest*edge)"], 32 * s["lr"])
    return {name: rate for name, rate in out.items() if rate}


def loss_at(rate, losses):
    x, points = math.log10(rate), [(math.log10(r), loss) for r, loss in losses]
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def analysed(binary, find):
    """The answers of today's rules on a stored curve; fastai's stay: they know how many steps were planned."""
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write("lr,loss\n" + "".join(f"{lr},{loss}\n" for lr, loss in zip(find["lr"], find["loss"])))
        file.flush()
        fresh = run(binary, "find", "--from-csv", file.name)
    return {**find, **{key: fresh[key] for key in ("suggestion", "lowest", "edge")}}


def table(binary, cells):
    regrets = {}
    for cell in cells.values():
        best = min(loss for _, loss in cell["losses"])
        for name, rate in candidates(analysed(binary, cell["find"])).items():
            regrets.setdefault(name, []).append((loss_at(rate, cell["losses"]) - best, rate))
    lines = ["| rule | median regret | worst regret | median rate | cells |", "|---|---|---|---|---|"]
    for name, rows in sorted(regrets.items(), key=lambda item: statistics.median(r for r, _ in item[1])):
        values = [r for r, _ in rows]
        lines.append(f"| {name} | {statistics.median(values):.3f} | {max(values):.3f} | "
                     f"{statistics.median(rate for _, rate in rows):.2g} | {len(values)} |")
    return "\n".join(lines)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--arch", default="resnet18")
    args = parser.parse_args()
    cells = Kept(args.out)
    if not args.flowers or not args.cifar:
        return print(table(args.binary, cells))
    with tempfile.TemporaryDirectory() as work:
        flowers = subset(args.flowers, os.path.join(work, "flowers"), {"train": 320, "val": 100})
        cifar = subset(args.cifar, os.path.join(work, "cifar"), {"train": 192, "val": 100})
        common = ["--arch", args.arch]
        plan = [("flowers", flowers, 48, 32, 3), ("flowers", flowers, 48, 64, 3),
                ("cifar", cifar, 32, 32, 3), ("cifar", cifar, 32, 64, 3)]
        # Trained weights to start from: the other data set's network.
        trained = os.path.join(work, "trained")
        run(args.binary, "train", cifar, *common, "--size", 32, "--batch-size", 32, "--epochs", 6, "--max-lr", 0.01,
            "--out", trained)
        for seed in range(args.seeds):
            for init in (None, trained):
                for name, data, size, batch, epochs in plan:
                    if init and (name, batch) != ("flowers", 32):
                        continue
                    key = f"{name} {size} px batch {batch} {'trained' if init else 'scratch'} seed {seed}"
                    if key in cells:
                        continue
                    began = time.time()
                    options = [*common, "--size", size, "--batch-size", batch, "--seed", seed,
                               *(["--init", checkpoint_of(init)] if init else [])]
                    find = run(args.binary, "find", data, *options, "--start-lr", 1e-5, "--steps", 75, "--out",
                               os.path.join(work, key.replace(" ", "-") + "-find"))
                    losses, accuracies = [], []
                    for rate in GRID:
                        result = run(args.binary, "train", data, *options, "--epochs", epochs, "--max-lr", rate, "--out",
                                     os.path.join(work, f"{key.replace(' ', '-')}-{rate}"))
                        last = result["epochs"][-1] if result else None
                        losses.append((rate, last["valid_loss"] if last else 20.0))
                        accuracies.append((rate, last["accuracy"] if last else 0.0))
                    keep = ("suggestion", "auto_lr", "lowest", "rules", "edge", "stopped", "reason", "lr", "loss")
                    cells[key] = {"find": {k: find.get(k) for k in keep}, "losses": losses, "accuracies": accuracies}
                    cells.save()
                    print(f"{key}: {time.time() - began:.0f} s, suggestion {find['suggestion']}, "
                          f"losses {[round(loss, 3) for _, loss in losses]}", flush=True)
    print(table(args.binary, cells))


def checkpoint_of(folder):
    checkpoints = os.path.join(folder, "checkpoints")
    return os.path.join(checkpoints, sorted(os.listdir(checkpoints))[-1])


if __name__ == "__main__":
    main()
