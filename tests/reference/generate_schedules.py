"""Schedules of PyTorch and fastai, run for real, for tests/schedule/test_schedule.cpp.

Run: python tests/reference/generate_schedules.py
Versions used: torch 2.11.0, fastai 2.8.7 with fastcore 1.8.18 and fastprogress 1.0.3 (fastcore 2 dropped
L.starmap, which this fastai calls). Writes tests/reference/data/schedules.json: a list of
{policy, options, lr, momentum, tolerance}; `options` are the command line's, epochs times
steps_per_epoch rows. fastai keeps positions in float32, hence its wider tolerance (relative).
"""
import json
import pathlib
import warnings

import torch
from fastai.basics import DataLoader, DataLoaders, Learner, SGD
import fastai.callback.schedule  # noqa: F401  adds fit_one_cycle and friends to Learner

warnings.filterwarnings("ignore")
torch.set_num_threads(1)


def optimizer(lr):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


def run_torch(opt, scheduler, steps):
    lr, momentum = [], []
    for step in range(steps):
        if step > 0:
            opt.step()
            scheduler.step()
        lr.append(float(opt.param_groups[0]["lr"]))
        momentum.append(float(opt.param_groups[0]["momentum"]))
    return lr, momentum


def pytorch_one_cycle(steps, max_lr=0.01, pct=0.3, div=25.0, final=1e4, three=False, anneal="cos", low=0.85, high=0.95):
    opt = optimizer(max_lr)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        opt, max_lr, total_steps=steps, pct_start=pct, div_factor=div, final_div_factor=final,
        three_phase=three, anneal_strategy=anneal, base_momentum=low, max_momentum=high)
    lr, momentum = run_torch(opt, scheduler, steps)
    options = {"epochs": 1, "steps_per_epoch": steps, "max_lr": max_lr, "pct_start": pct, "div": div,
               "final_div": final, "three_phase": three, "anneal": anneal, "low": low, "high": high}
    return case("onecycle:pytorch", options, lr, momentum, 1e-12)


def case(policy, options, lr, momentum, tolerance):
    return {"policy": policy, "options": options, "lr": lr, "momentum": momentum, "tolerance": tolerance}


def learner(steps_per_epoch):
    class Zeros(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.w * x

    items = [(torch.zeros(1), torch.zeros(1))] * steps_per_epoch
    dls = DataLoaders(DataLoader(items, bs=1), DataLoader(items[:1], bs=1))
    return Learner(dls, Zeros(), loss_func=torch.nn.MSELoss(), opt_func=lambda p, lr: SGD(p, lr=lr, mom=0.9))


def fastai_case(policy, options, fit):
    learn = learner(options["steps_per_epoch"])
    with learn.no_bar(), learn.no_logging():
        fit(learn)
    hps = learn.recorder.hps
    lr = [float(v) for v in hps["lr"]]
    momentum = [float(v) for v in hps["mom"]] if "mom" in hps else [0.9] * len(lr)
    return case(policy, options, lr, momentum, 1e-4)


cases = []
for steps in (1, 2, 3, 8, 20, 50, 97):
    cases.append(pytorch_one_cycle(steps))
cases += [
    pytorch_one_cycle(10, max_lr=25.0, div=25.0, final=2.0, anneal="linear", low=0.01, high=0.22),
    pytorch_one_cycle(10, max_lr=25.0, div=25.0, final=2.0, low=0.01, high=0.22),
    pytorch_one_cycle(10, max_lr=25.0, pct=0.4, div=25.0, final=4.0, three=True, anneal="linear", low=0.01, high=0.22),
    pytorch_one_cycle(31, max_lr=0.3, pct=0.45, three=True),
    pytorch_one_cycle(12, pct=0.7, three=True),
    pytorch_one_cycle(10, pct=0.0),
    pytorch_one_cycle(10, pct=1.0),
]

for epochs, per_epoch, max_lr in ((1, 8, 0.01), (2, 10, 0.01), (3, 33, 0.2), (1, 1, 0.01), (1, 2, 0.01)):
    options = {"epochs": epochs, "steps_per_epoch": per_epoch, "max_lr": max_lr}
    cases.append(fastai_case("onecycle:fastai", options, lambda l: l.fit_one_cycle(epochs, max_lr)))
    cases.append(fastai_case("flat-cos", options, lambda l: l.fit_flat_cos(epochs, max_lr)))
options = {"epochs": 2, "steps_per_epoch": 25, "max_lr": 0.05, "pct_start": 0.4, "div": 10.0, "final_div": 1e3}
cases.append(fastai_case("onecycle:fastai", options,
                         lambda l: l.fit_one_cycle(2, 0.05, pct_start=0.4, div=10.0, div_final=1e3)))
# Quarters are exact in float32: with thirds, fastai's rounded positions put a restart one step
# late.
options = {"epochs": 4, "steps_per_epoch": 8, "max_lr": 1.0}
cases.append(fastai_case("restarts:1,3", options, lambda l: l.fit_sgdr(2, 1, 1.0, cycle_mult=3)))

schedulers = torch.optim.lr_scheduler
for policy, epochs, per_epoch, make in (
        ("cosine", 2, 15, lambda o: schedulers.CosineAnnealingLR(o, 30)),
        ("linear", 3, 7, lambda o: schedulers.LinearLR(o, 1.0, 0.0, 21)),
        ("constant", 1, 5, lambda o: schedulers.ConstantLR(o, 1.0)),
        ("steps:2,3.5,4@0.3", 6, 10, lambda o: schedulers.MultiStepLR(o, [20, 35, 40], 0.3)),
        ("restarts:1.5,2", 8, 10, lambda o: schedulers.CosineAnnealingWarmRestarts(o, 15, 2))):
    opt = optimizer(0.1)
    lr, momentum = run_torch(opt, make(opt), epochs * per_epoch)
    # These schedulers multiply their way from step to step, which gathers rounding.
    cases.append(case(policy, {"epochs": epochs, "steps_per_epoch": per_epoch, "max_lr": 0.1}, lr, momentum, 1e-10))

path = pathlib.Path(__file__).parent / "data" / "schedules.json"
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(path, path.stat().st_size, "bytes,", len(cases), "cases")
