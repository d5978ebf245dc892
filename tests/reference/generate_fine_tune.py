"""fastai's fine_tune, run for real on a ResNet18 with its own head: rates and momenta of every group at every step,
losses, and how far each tensor moved in each stage.

Run: python tests/reference/generate_fine_tune.py   (about 1 minute)
Versions used: fastai 2.8.7 (fastcore 1.8), torch 2.11.0, torchvision 0.26.0, numpy 2.4.6. Writes
tests/reference/data/fine_tune.json: a list of cases {freeze_bn, freeze_epochs, epochs, steps_per_epoch, base_lr,
lr_mult, classes, batch, size, norm_bias, lr (a row a step, a column a group), momentum, loss, loss_tolerance,
float32_positions, stages}. `stages` has, for each stage, `equal`, the parameters that no bit of moved, and `change`,
rows [name, sum, norm, dot, [samples], tolerance] of what it moved of the others and of the running statistics (none
where single precision cannot tell).

Weights come from the formula under our names, images and labels too: step k sees images.i and labels.i with
i = k % steps_per_epoch. There is no dropout, whose random numbers are not ours. The truth is computed in float64.
fastai keeps the positions of its schedule in float32; here they are doubles, and `float32_positions` says by how much
(relative) that changes a rate.
"""
import json
import math
import pathlib
import warnings

import numpy as np
import torch
import torchvision
from fastai.callback import schedule
from fastai.callback.core import Callback
from fastai.callback.training import BnFreeze
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.learner import vision_learner

import formula
import networks

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
DATA = pathlib.Path(__file__).parent / "data"
CLASSES, BATCH, SIZE, NORM_BIAS, PER_EPOCH = 10, 8, 48, 2.0, 5
CASES = [  # freeze_bn, freeze_epochs, epochs, base_lr, lr_mult
    (False, 1, 2, 2e-3, 100),
    (False, 2, 1, 4e-3, 10),
]
BODY = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]  # fastai calls them 0.0 to 0.7


def float64_positions(x):
    return torch.tensor(list(x), dtype=torch.float64)


class Record(Callback):
    """What each step used, and the weights where a stage ends."""
    order = 100

    def __init__(self):
        self.lr, self.momentum, self.loss, self.states = [], [], [], []

    def before_fit(self):
        if not self.states:
            self.states.append(state_of(self.learn))

    def after_loss(self):
        if not self.training:
            return
        self.lr.append([h["lr"] for h in self.opt.hypers])
        self.momentum.append([h["mom"] for h in self.opt.hypers])
        self.loss.append(float(self.loss_of()))

    def loss_of(self):
        return self.learn.loss_grad.detach()

    def after_fit(self):
        self.states.append(state_of(self.learn))


def our_names(model):
    """{their name: ours} of every tensor of vision_learner's model without dropout."""
    head = {"2": "bn1", "3": "fc1", "5": "bn2", "6": "fc2"}
    names = {}
    for name in model.state_dict():
        part, index, *rest = name.split(".")
        names[name] = ".".join(([BODY[int(index)]] if part == "0" else ["head", head[index]]) + rest)
    return names


def state_of(learn):
    names = our_names(learn.model)
    return {names[n]: t.detach().cpu().double().numpy().copy() for n, t in learn.model.state_dict().items()
            if not n.endswith("num_batches_tracked")}


def run(freeze_bn, freeze_epochs, epochs, base_lr, lr_mult, kind, positions=float64_positions):
    with networks.arithmetic(kind) as (dtype, layout):
        items = []
        for i in range(PER_EPOCH):
            pixels = networks.normalized(f"images.{i}", BATCH, SIZE, dtype)
            items += list(zip(pixels, torch.from_numpy(formula.labels(f"labels.{i}", BATCH, CLASSES))))
        load = DataLoader(items, bs=BATCH, shuffle=False, drop_last=True, num_workers=0)
        learn = vision_learner(DataLoaders(load, load, device=torch.device("cpu")), torchvision.models.resnet18,
                               pretrained=False, normalize=False, n_out=CLASSES, ps=0.0,
                               loss_func=CrossEntropyLossFlat())
        names = our_names(learn.model)
        with torch.no_grad():
            for name, tensor in learn.model.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    value = formula.parameter(names[name], tuple(tensor.shape), NORM_BIAS)
                    tensor.copy_(torch.from_numpy(value))
        learn.model.to(dtype).to(memory_format=layout)
        record = Record()
        kept, schedule.tensor = schedule.tensor, positions
        try:
            with learn.no_bar(), learn.no_logging():
                learn.fine_tune(epochs, base_lr, freeze_epochs=freeze_epochs, lr_mult=lr_mult,
                                cbs=[record] + ([BnFreeze()] if freeze_bn else []))
        finally:
            schedule.tensor = kept
    return record


def relative(a, b):
    return float(np.max(np.abs(np.array(a) - np.array(b)) / np.array(b)))


def stage_rows(states, others):
    """What moved in each stage."""
    stages = []
    for s in range(2):
        names = list(states[0])
        change = {n: states[s + 1][n] - states[s][n] for n in names}
        equal = [n for n in names if not change[n].any()]
        moved = {n: c for n, c in change.items() if n not in equal}
        found = networks.errors(moved, [{n: o[s + 1][n] - o[s][n] for n in moved} for o in others])
        print(f"  stage {s + 1}: {len(equal)} equal, {len(moved)} moved, median error "
              f"{np.median(list(found.values())):.0e} worst {max(found.values()):.0e}", flush=True)
        # Where Adam has turned rounding of small gradients into whole steps, there is nothing to
        # compare.
        tells = np.median(list(found.values())) < 0.05
        stages.append((equal, networks.rows(moved, found) if tells else []))
    return stages


def dump(*case):
    freeze_bn, freeze_epochs, epochs, base_lr, lr_mult = case
    truth = run(*case, "float64")
    as_it_is = run(*case, "float64", schedule.tensor)
    others = [run(*case, kind) for kind in networks.FP32]
    tolerance = [10 * max([abs(o.loss[k] - truth.loss[k]) for o in others] + [1e-6]) for k in range(len(truth.loss))]
    print(case, "loss", np.round(truth.loss, 3), "tolerance", f"{max(tolerance):.0e}", flush=True)
    head = {"freeze_bn": freeze_bn, "freeze_epochs": freeze_epochs, "epochs": epochs, "steps_per_epoch": PER_EPOCH,
            "base_lr": base_lr, "lr_mult": lr_mult, "classes": CLASSES, "batch": BATCH, "size": SIZE,
            "norm_bias": NORM_BIAS, "lr": formula.rounded(truth.lr, 15), "momentum": formula.rounded(truth.momentum, 15),
            "loss": formula.rounded(truth.loss, 9), "loss_tolerance": formula.rounded(tolerance, 2),
            "float32_positions": formula.rounded(max(relative(as_it_is.lr, truth.lr),
                                                     relative(as_it_is.momentum, truth.momentum)), 2)}
    stages = stage_rows(truth.states, [o.states for o in others])
    return json.dumps(head)[:-1] + ', "stages": [' + ",\n".join(
        f'{{"equal": {json.dumps(equal)}, "change": {networks.lines(rows)}}}' for equal, rows in stages) + "]}"


(DATA / "fine_tune.json").write_text("[\n" + ",\n".join(dump(*case) for case in CASES) + "\n]\n")
