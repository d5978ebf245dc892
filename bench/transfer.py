#!/usr/bin/env python3
"""Does starting from someone else's weights pay? From a ResNet18 that has learnt CIFAR-10 at 32 px, to other images.

For each of three data sets and each seed: `onecycle train` from scratch, `onecycle finetune` from these weights with
the rate that it takes by itself and with fastai's 2e-3, and fastai's fine_tune from the same weights with 2e-3. All
see every image equally often, and are evaluated on the same images, which took no part.

    bench/fetch_data data
    python3 bench/transfer.py --binary build/onecycle --data data --python VENV/bin/python \\
        --out bench/results/transfer.json

The data sets are settings of study_settings.py; study_data.py makes their folders, in data/study. Needs the standard
library and Debian's dataset-fashion-mnist; PyTorch and fastai run in the interpreter given by --python. The output is
written after every training, and trainings that are in it are not run again.
"""
import argparse
import os
import tempfile

from markdown_table import TRAININGS, results, table, training_rows
from runs import Kept, run, script
from study_auto_lr import NO_CHECKPOINT_BEFORE_THE_END, Study
from study_settings import SETTINGS

FREEZE_EPOCHS, USUAL_RATE = 1, 2e-3  # fastai's defaults
WHERE = {"tune-flowers-300": "300 flowers, 5 classes", "tune-signs": "1,300 hand signs, 10 classes",
         "tune-fashion": "2,000 garments, 10 classes"}
ROWS = ("scratch", "finetune", "finetune 2e-3", "fastai 2e-3")


def of(result):
    last = result["epochs"][-1]
    return {"accuracy": last["accuracy"], "valid_loss": last["valid_loss"], "max_lr": result["max_lr"],
            "seconds": result["seconds"]}


def trainings(args, setting, data, weights, seed, cell, save):
    images = ["--size", setting.px, "--batch-size", setting.batch]
    stages = ["--freeze-epochs", FREEZE_EPOCHS, "--epochs", setting.epochs]

    def ours(key, verb, *more):
        if key not in cell:
            with tempfile.TemporaryDirectory() as folder:
                cell[key] = of(run(args.binary, verb, data, *images, *more, *NO_CHECKPOINT_BEFORE_THE_END,
                                   "--seed", seed, "--out", os.path.join(folder, "run")))
            save()

    ours("scratch", "train", "--arch", setting.arch, "--epochs", FREEZE_EPOCHS + setting.epochs)
    ours("finetune", "finetune", "--init", weights, *stages)
    ours("finetune 2e-3", "finetune", "--init", weights, *stages, "--max-lr", USUAL_RATE)
    if "fastai 2e-3" not in cell:
        cell["fastai 2e-3"] = of(script(args.python, "fastai_fine_tune.py", "--data", data, "--init", weights,
                                        "--arch", setting.arch, *images, *stages, "--lr", USUAL_RATE, "--seed", seed))
        save()


def tested(made, folder):
    """The setting's folder with the images that took no part as its evaluation side."""
    for side, source in (("train", "train"), ("val", "test")):
        os.symlink(os.path.abspath(os.path.join(made, source)), os.path.join(folder, side))
    return folder


def tables(cells=None):
    """The table of the page, by name; cells: what --out holds, by default bench/results/transfer.json."""
    cells = cells or results("transfer")
    rows = [[what, *row] for name, what in WHERE.items()
            for row in training_rows([cell for key, cell in cells.items() if key.startswith(name + ",")], ROWS)]
    return {"transfer": table("training images | " + TRAININGS.replace("trained with", "trained"), rows)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/onecycle")
    parser.add_argument("--data", required=True, help="the folder that bench/fetch_data made")
    parser.add_argument("--fashion", default="/usr/share/datasets/fashion-mnist", help="Fashion-MNIST's four files")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    args.only = ",".join(WHERE)
    kept, study = Kept(args.out), Study(args)
    for seed in range(args.seeds):
        for setting in (s for s in SETTINGS if s.name in WHERE):
            made, weights = study.made(setting)
            cell = kept.setdefault(f"{setting.name}, seed {seed}", {})
            with tempfile.TemporaryDirectory() as folder:
                trainings(args, setting, tested(made, folder), weights, seed, cell, kept.save)
            print(f"{setting.name}, seed {seed}: done", flush=True)
    print(tables(kept)["transfer"])


if __name__ == "__main__":
    main()
