"""fastai's learning-rate suggestions, run for real, for tests/schedule/test_range_test_analysis.cpp.

Run: python tests/reference/generate_fastai_rules.py
Versions used: torch 2.11.0, fastai 2.8.7 with fastcore 1.8.18 and fastprogress 1.0.3 (see
generate_schedules.py). Writes tests/reference/data/fastai_rules.json: a list of
{name, lr, loss, smoothed, planned, raw, valley, slide, minimum, steep, steep_is_a_tie}. `smoothed` is fastai's
AvgSmoothLoss of `loss` (nan and inf as text), null where `raw` says that the rules were given `loss` itself.
The trim is lr_find's. A rule that raises is null.
"""
import json
import math
import pathlib
import random
from types import SimpleNamespace

import torch
from fastai.callback.schedule import minimum, slide, steep, valley
from fastai.learner import AvgSmoothLoss

torch.set_num_threads(1)


def smooth(losses):
    metric, out = AvgSmoothLoss(), []
    metric.reset()
    for loss in losses:
        metric.accumulate(SimpleNamespace(loss=torch.tensor(loss)))
        out.append(metric.value.item())
    return out


def suggest(lrs, losses, planned):
    """The middle of fastai's lr_find."""
    lrs, losses = torch.tensor(lrs[planned // 10:-5]), torch.tensor(losses[planned // 10:-5])
    nans = torch.nonzero(torch.isnan(losses.view(-1)))
    if len(nans) > 0:
        lrs, losses = lrs[:min(nans)], losses[:min(nans)]
    answers = {}
    for rule in (valley, slide, minimum, steep):
        try:
            answers[rule.__name__] = rule(lrs, losses, planned)[0]
        except Exception:
            answers[rule.__name__] = None
    return answers


def text(values):
    return [v if math.isfinite(v) else str(v) for v in values]


def case(name, lr, loss, planned=None, raw=False, steep_is_a_tie=False):
    planned = planned or len(lr)
    smoothed = None if raw else smooth(loss)
    answers = suggest(lr, loss if raw else smoothed, planned)
    return {"name": name, "lr": lr, "loss": text(loss), "smoothed": smoothed and text(smoothed),
            "planned": planned, "raw": raw, **answers, "steep_is_a_tie": steep_is_a_tie}


def ramp(n, start=1e-7, end=10.0):
    return [start * (end / start) ** (k / n) for k in range(n)]


def curve_b(x):
    rise = 3 * (10 ** (1.6 * (x + 1.2)) - 1) if x >= -1.2 else 0
    return 2.3 - 1.6 / (1 + math.exp(-(x + 2.6) / 0.33)) + rise


def well(a=10.0, c=1.0, w=1.0):
    lr, loss, out = ramp(100, 1e-4), [], []
    for rate in lr:
        loss.append(c + a / 2 * w * w)
        w -= rate * a * w
    return lr, loss


inf, nan = float("inf"), float("nan")
table = [2.30, 2.31, 2.30, 2.28, 2.22, 2.05, 1.80, 1.55, 1.45, 1.50, 2.00, 4.00]
# A comes with five more rows in front of the trim's end, so that the rules see the table itself.
a_lr = [10 ** (-6 + i / 2) for i in range(12)] + [1, 2, 3, 4, 5]
b_lr = [10 ** (-7 + 8 * i / 100) for i in range(100)]
b = [curve_b(-7 + 8 * i / 100) for i in range(100)]
well_lr, well_loss = well()
cases = [
    case("A", a_lr, table + [9.0] * 5, planned=1, raw=True, steep_is_a_tie=True),
    case("B raw", b_lr, b, raw=True, steep_is_a_tie=True),
    case("B", b_lr, b),
    case("well, stopped after 95 of 100", well_lr[:95], well_loss[:95], planned=100),
    case("nine falling", [10.0 ** k for k in range(-9, 5)], [9.0 - k for k in range(14)], planned=1, raw=True, steep_is_a_tie=True),
    case("two falling", [10.0 ** k for k in range(-9, -2)], [9.0 - k for k in range(7)], planned=1, raw=True, steep_is_a_tie=True),
    case("rising", ramp(40), [1.0 + k for k in range(40)], raw=True, steep_is_a_tie=True),
    case("constant", ramp(40), [1.0] * 40, raw=True, steep_is_a_tie=True),
    case("nan in the middle", ramp(60), [2.0 - k / 50 for k in range(40)] + [nan] * 20),
    case("inf, then finite", ramp(60), [2.0 - k / 50 for k in range(40)] + [inf] + [5.0] * 19),
    case("all nan", ramp(30), [nan] * 30),
    case("one row", [1e-3], [1.0]),
    case("seven rows", ramp(7), [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]),
]
random.seed(0)
for n, sigma in ((100, 0.02), (100, 0.1), (100, 0.3), (75, 0.1), (300, 0.1)):
    lr = ramp(n)
    cases.append(case(f"B with noise {sigma}, {n} steps", lr,
                      [round(curve_b(math.log10(v)) + random.gauss(0, sigma), 6) for v in lr]))

path = pathlib.Path(__file__).parent / "data" / "fastai_rules.json"
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(path, path.stat().st_size, "bytes")
for c in cases:
    print(c["name"], {k: c[k] for k in ("valley", "slide", "minimum", "steep")})
