"""fastai's lr_find, run for real on the same folder, network and recipe: its four suggestions and the curve.

    python bench/fastai_lr_find.py --data photos --size 64 --csv fastai.csv
    onecycle find --from-csv fastai.csv
The CSV holds lr and the raw batch loss of every step (fastai itself keeps only the smoothed one). Prints
JSON: the suggestions and how many steps it took. The momentum is that of the one-cycle's peak, as ours.
Versions used: fastai 2.8.7 (with fastcore 1.8.18 and fastprogress 1.0.3), torch 2.11.0, torchvision 0.26.0.
"""
import argparse
import csv
import json
import sys
import tempfile
import time

import fastai
import torch
from fastai.callback.core import Callback
from fastai.callback.schedule import minimum, slide, steep, valley
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper

import pytorch_recipe as recipe


class RawLosses(Callback):
    """The rate and the loss of each batch, as they are."""

    def before_fit(self):
        self.rows = []

    def after_loss(self):
        if self.training:
            self.rows.append((self.opt.hypers[-1]["lr"], self.loss.item()))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--data", required=True, help="folder with train/ and val/, valid/ or test/")
    p.add_argument("--arch", choices=recipe.ARCHITECTURES, default="resnet34")
    p.add_argument("--stem", choices=("imagenet", "small"), default="imagenet")
    p.add_argument("--size", type=int, default=224)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--start-lr", type=float, default=1e-7)
    p.add_argument("--end-lr", type=float, default=10.0)
    p.add_argument("--steps", type=int, default=100)
    p.add_argument("--momentum", type=float, default=0.85)
    p.add_argument("--weight-decay", type=float, default=1e-4)
    p.add_argument("--label-smoothing", type=float, default=0.0)
    p.add_argument("--augment", choices=("none", "flip", "standard"), default="standard")
    p.add_argument("--crop-pct", type=float, default=0.875)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=0, help="0: all cores")
    p.add_argument("--csv", help="write lr,loss here")
    o = p.parse_args()
    if o.threads:
        torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)

    training, held_out = recipe.datasets(o.data, o.augment, o.size, o.crop_pct)
    loaders = DataLoaders(recipe.loader(training, o.batch_size, True, o.workers, o.seed),
                          recipe.loader(held_out, o.batch_size, False, o.workers, o.seed), device="cpu")
    net = recipe.model(o.arch, len(training.classes), o.stem)

    def optimizer(_, lr, **__):
        groups = recipe.parameter_groups(net, o.weight_decay)
        return OptimWrapper(opt=torch.optim.SGD(groups, lr=lr, momentum=o.momentum))

    raw, start = RawLosses(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:  # where fastai keeps the weights meanwhile
        learn = Learner(loaders, net, loss_func=torch.nn.CrossEntropyLoss(label_smoothing=o.label_smoothing),
                        opt_func=optimizer, cbs=raw, path=folder)
        with learn.no_bar():
            found = learn.lr_find(o.start_lr, o.end_lr, o.steps, show_plot=False,
                                  suggest_funcs=(steep, valley, slide, minimum))
    if o.csv:
        with open(o.csv, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("lr", "loss"), *raw.rows])
    json.dump({"tool": f"fastai {fastai.__version__}", "arch": o.arch, "size": o.size, "batch_size": o.batch_size,
               "seed": o.seed, "rules": {k: float(v) for k, v in found._asdict().items()}, "steps": len(raw.rows),
               "seconds": round(time.perf_counter() - start, 1)}, sys.stdout, indent=1)
    print()


main()
