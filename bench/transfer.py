#!/usr/bin/env python3
"""Does starting from someone else's weights pay? On flowers, from a ResNet18 that has learnt CIFAR-10.

Pretrains (`onecycle train` on CIFAR-10), then for each size of the training set and each seed: `onecycle train` from
scratch, `onecycle finetune` from these weights with a rate that it finds and with fastai's 2e-3, and fastai's fine_tune
from the same weights with 2e-3. All see every image equally often.

    python bench/transfer.py --binary build/onecycle --flowers DIR --cifar DIR --python VENV/bin/python \\
        --out bench/results/transfer.json

DIR: image folders with train/ and val/ (or test/). Needs the standard library only; PyTorch and fastai run in the
interpreter given by --python. --pretrained RUN takes a run that is there instead. The output is written after every
training, and trainings that are in it are not run again. With --table it only prints.
"""
import os
import tempfile

from markdown_table import TRAININGS, percent, results, table, training_rows
from runs import Kept, arguments, run, script, subset

IMAGES = ["--arch", "resnet18", "--size", 64, "--batch-size", 64]
PRETRAINING = [*IMAGES, "--epochs", 8, "--max-lr", 0.05]
FREEZE_EPOCHS, EPOCHS, USUAL_RATE = 1, 6, 2e-3  # fastai's default
PER_CLASS = {"all": None, "50 a class": 50}
ROWS = ("scratch", "finetune", "finetune 2e-3", "fastai 2e-3")


def of(result):
    last = result["epochs"][-1]
    return {"accuracy": last["accuracy"], "valid_loss": last["valid_loss"], "max_lr": result["max_lr"],
            "seconds": result["seconds"]}


def trainings(args, data, weights, seed, work, cell, save):
    def ours(key, verb, *more):
        if key not in cell:
            out = os.path.join(work, f"{len(os.listdir(work))}")
            cell[key] = of(run(args.binary, verb, data, *IMAGES[2:], "--seed", seed, "--out", out, *more))
            save()

    stages = ["--freeze-epochs", FREEZE_EPOCHS, "--epochs", EPOCHS]
    ours("scratch", "train", *IMAGES[:2], "--epochs", FREEZE_EPOCHS + EPOCHS)
    ours("finetune", "finetune", "--init", weights, *stages)
    ours("finetune 2e-3", "finetune", "--init", weights, *stages, "--max-lr", USUAL_RATE)
    if "fastai 2e-3" not in cell:
        cell["fastai 2e-3"] = of(script(args.python, "fastai_fine_tune.py", "--data", data, "--init", weights, *IMAGES,
                                        *stages, "--lr", USUAL_RATE, "--seed", seed))
        save()


def tables(cells=None):
    """The table of the page, by name; cells: what --out holds, by default bench/results/transfer.json."""
    cells = cells or results("transfer")
    rows = [[name, *row] for name in PER_CLASS
            for row in training_rows([cell for key, cell in cells.items() if key.startswith(name + ",")], ROWS)]
    return {"transfer": table("training images | " + TRAININGS.replace("trained with", "trained"), rows)}


def main():
    parser = arguments(__doc__)
    parser.add_argument("--pretrained", help="the run of the pretraining, if it is there")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--table", action="store_true", help="print what is in --out already")
    args = parser.parse_args()
    kept = Kept(args.out)

    if not args.table:
        with tempfile.TemporaryDirectory() as work:
            pretrained = args.pretrained or os.path.join(work, "pretrained")
            if not args.pretrained:
                run(args.binary, "train", args.cifar, *PRETRAINING, "--out", pretrained)
            if "pretrained" not in kept:
                kept["pretrained"] = run(args.binary, "eval", args.cifar, "--model", pretrained)["accuracy"]
                kept.save()
            weights = os.path.join(work, "pretrained.safetensors")
            run(args.binary, "export", pretrained, "--to", weights)
            runs = os.path.join(work, "runs")
            os.mkdir(runs)
            for name, per_class in PER_CLASS.items():
                data = args.flowers if per_class is None else subset(
                    args.flowers, os.path.join(work, "subset"), {"train": per_class, "val": None})
                for seed in range(args.seeds):
                    cell = kept.setdefault(f"{name}, seed {seed}", {})
                    trainings(args, data, weights, seed, runs, cell, kept.save)
                    print(f"{name}, seed {seed}: done", flush=True)
    print(f"pretrained on CIFAR-10: {percent([kept['pretrained']])} of its test images\n\n{tables(kept)['transfer']}")


if __name__ == "__main__":
    main()
