#!/usr/bin/env python3
"""Find and train against the same recipe in PyTorch, and training at the lowest point instead.

For each data set and seed: `onecycle train --max-lr auto`; PyTorch with the rate that was found; fastai's
lr_find on the same network and data; then `onecycle train` at the two lowest points of our curve, the centred
one and the one of an average of the past (ten times fastai's `minimum`).

    python bench/accuracy.py --binary build/onecycle --flowers DIR --cifar DIR --python VENV/bin/python \\
        --out bench/results/accuracy.json

DIR: image folders with train/ and val/ (or test/). CIFAR-10 is cut to the first 1,000 training images of each
class. Needs the standard library only; PyTorch and fastai run in the interpreter given by --python. The output is
written after every training, and trainings that are in it are not run again. With --table it only prints.
"""
import json
import os
import tempfile

from markdown_table import TRAININGS, number, results, table, training_rows
from runs import Kept, arguments, run, script, subset

RECIPES = {
    "flowers": ["--arch", "resnet34", "--size", 64, "--batch-size", 64, "--epochs", 6],
    "cifar": ["--arch", "resnet18", "--size", 32, "--batch-size", 64, "--epochs", 4],
}


def summary(result):
    if result is None:
        return {"accuracy": 0.0, "valid_loss": None, "images_per_second": None}
    last = result["epochs"][-1]
    return {"accuracy": last["accuracy"], "valid_loss": last["valid_loss"],
            "images_per_second": result["images_per_second"]}


def trainings(args, part, name, data, seed, work, cell, save):
    recipe = [*RECIPES[name], "--seed", seed]

    def ours(key, rate):
        if key not in cell:
            out = os.path.join(work, f"{name}-{seed}-{key}".replace(" ", "-"))
            result = run(args.binary, "train", data, *recipe, "--max-lr", rate, "--out", out)
            cell[key] = {**summary(result), "max_lr": result["max_lr"] if result else rate}
            if rate == "auto":
                with open(os.path.join(out, "find", "find.json")) as file:
                    find = json.load(file)
                cell["find"] = {k: find.get(k) for k in ("suggestion", "auto_lr", "lowest", "edge", "rules", "lr", "loss")}
            save()

    if part == "beside PyTorch":
        ours("onecycle", "auto")
        if "pytorch" not in cell:
            result = script(args.python, "pytorch_cpu.py", "--data", data, *recipe, "--max-lr", cell["onecycle"]["max_lr"])
            cell["pytorch"] = {**summary(result), "max_lr": result["max_lr"]}
    elif part == "fastai" and "fastai" not in cell:
        no_epochs = recipe[:recipe.index("--epochs")] + recipe[recipe.index("--epochs") + 2:]
        cell["fastai"] = script(args.python, "fastai_lr_find.py", "--data", data, *no_epochs)["rules"]
    elif part == "lowest":
        if cell["find"]["rules"]["minimum"]:
            ours("lowest, lagging", 10 * cell["find"]["rules"]["minimum"])
        if cell["find"]["lowest"]:
            ours("lowest, centred", cell["find"]["lowest"])
    save()


RULES = ("valley", "slide", "minimum", "steep")
LOWEST = ("lowest, centred", "lowest, lagging")


def tables(cells=None):
    """The tables of the pages, by name; cells: what --out holds, by default bench/results/accuracy.json."""
    cells = cells or results("accuracy")
    compared, lowest, found, rules = [], [], [], []
    for name in RECIPES:
        of = [cell for key, cell in cells.items() if key.startswith(name + " ")]
        compared += [[name, *row] for row in training_rows(of, ("onecycle", "pytorch"))]
        lowest += [[name, *row] for row in training_rows(of, ("onecycle", *LOWEST))]
    for key, cell in cells.items():
        data, seed = key.split(" seed ")
        if "find" in cell:
            find, s = cell["find"], cell["find"]["suggestion"]
            steepest = f"{number(s['lr'])} ({number(s['low'])}-{number(s['high'])})" if s else "-"
            found.append([data, seed, steepest, *(number(find[k]) for k in ("auto_lr", "lowest", "edge"))])
        for curve, answers in (("ours", cell.get("find", {}).get("rules")), ("fastai's own", cell.get("fastai"))):
            if answers:
                rules.append([data, seed, curve, *(number(answers[rule]) for rule in RULES)])
    return {"accuracy": table(f"data | {TRAININGS}", compared),
            "rate-found": table("data | seed | steepest (low-high) | auto | lowest | edge", found),
            "fastai-rules": table("data | seed | curve | " + " | ".join(RULES), rules),
            "lowest": table(f"data | {TRAININGS}", lowest)}


def main():
    parser = arguments(__doc__)
    parser.add_argument("--python", default="python3")
    parser.add_argument("--table", action="store_true", help="print what is in --out already")
    args = parser.parse_args()
    cells = Kept(args.out)

    if not args.table:
        with tempfile.TemporaryDirectory() as work:
            cifar = subset(args.cifar, os.path.join(work, "cifar"), {"train": 1000, "val": 1000})
            plan = [(part, seed, name, data) for part in ("beside PyTorch", "lowest", "fastai") for seed in range(args.seeds)
                    for name, data in (("flowers", args.flowers), ("cifar", cifar))]
            for part, seed, name, data in plan:
                trainings(args, part, name, data, seed, work, cells.setdefault(f"{name} seed {seed}", {}), cells.save)
                print(f"{part}: {name} seed {seed} done", flush=True)
    print("\n\n".join(tables(cells).values()))


if __name__ == "__main__":
    main()
