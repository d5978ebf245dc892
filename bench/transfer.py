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
import statistics
import tempfile

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


def table(cells):
    lines = ["| training images | trained | seeds | rate | accuracy | validation loss |", "|---|---|---|---|---|---|"]
    for name in PER_CLASS:
        for key in ROWS:
            rows = [c[key] for n, c in cells.items() if n.startswith(name + ",") and key in c]
            if not rows:
                continue
            share = [100 * r["accuracy"] for r in rows]
            spread = f" ± {statistics.stdev(share):.1f}" if len(share) > 1 else ""
            rates = ", ".join("%.2g" % r["max_lr"] for r in rows)
            lines.append(f"| {name} | {key} | {len(rows)} | {rates} | {statistics.fmean(share):.1f}{spread} % | "
                         f"{statistics.fmean(r['valid_loss'] for r in rows):.3f} |")
    return "\n".join(lines)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--pretrained", help="the run of the pretraining, if it is there")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--table", action="store_true", help="print what is in --out already")
    args = parser.parse_args()
    results = Kept(args.out)

    if not args.table:
        with tempfile.TemporaryDirectory() as work:
            pretrained = args.pretrained or os.path.join(work, "pretrained")
            if not args.pretrained:
                run(args.binary, "train", args.cifar, *PRETRAINING, "--out", pretrained)
            if "pretrained" not in results:
                results["pretrained"] = run(args.binary, "eval", args.cifar, "--model", pretrained)["accuracy"]
                results.save()
            weights = os.path.join(work, "pretrained.safetensors")
            run(args.binary, "export", pretrained, "--to", weights)
            runs = os.path.join(work, "runs")
            os.mkdir(runs)
            for name, per_class in PER_CLASS.items():
                data = args.flowers if per_class is None else subset(
                    args.flowers, os.path.join(work, "subset"), {"train": per_class, "val": None})
                for seed in range(args.seeds):
                    cell = results.setdefault(f"{name}, seed {seed}", {})
                    trainings(args, data, weights, seed, runs, cell, results.save)
                    print(f"{name}, seed {seed}: done", flush=True)
    cells = {k: v for k, v in results.items() if k != "pretrained"}
    print(f"pretrained on CIFAR-10: {100 * results['pretrained']:.1f} % of its test images\n\n{table(cells)}")


if __name__ == "__main__":
    main()
