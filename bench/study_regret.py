#!/usr/bin/env python3
"""What each rule for the maximum of one cycle costs, from what study_auto_lr.py measured.

    python3 bench/study_regret.py                  # prints the tables of bench/results/auto_lr.json

Accuracy and loss of a setting at a rate: the mean over the seeds at each rate of the grid, between two of them linear
in log10(rate), beyond the ends as at the end. The regret of a rule is what its rate loses against the best of the grid,
in points of accuracy or in loss, and is the mean over the range tests of a setting (one a seed).
"""
import math
import statistics

from markdown_table import number, results, table
from study_settings import Setting, loss_of, wanted

KINDS = ("SGD from scratch", "AdamW from scratch", "fine-tuned")
CHOSEN, ASIDE = "chosen with", "set aside"


def kind(setting):
    return "fine-tuned" if setting.init else {"sgd": "SGD", "adamw": "AdamW"}[setting.optimizer] + " from scratch"


# --- rules: (setting, what `find` answered) -> rate, or None where the rule has no answer ---

def default(setting):
    if setting.optimizer == "sgd":
        return 0.01
    return 0.002 if setting.init else 0.001


def fallback(setting):
    """What a rule without an answer takes."""
    return 0.01 if setting.optimizer == "sgd" else 0.001


def before(setting, found):
    """`auto` until it knew what is usual."""
    lowest, edge, steepest = found["lowest"], found["edge"], found["rules"]["steepest"]
    if not steepest:
        return None
    return min(math.sqrt(lowest * edge), 32 * steepest) if edge else math.sqrt(lowest * steepest)


def fastai(name):
    return lambda setting, found: found["rules"][name]


def constant(rate):
    return lambda setting, found: rate


def scaled(share, power):
    return lambda setting, found: share * default(setting) * (setting.batch / 32) ** power


AUTO = "auto"
RULES = {
    AUTO: lambda setting, found: found["auto_lr"] or found["prior"] or found["usual_lr"],
    "the usual rate alone": lambda setting, found: found["usual_lr"],
    "the curve alone": lambda setting, found: found["curve_lr"],
    "before: √(lowest · edge)": before,
    "steepest point": fastai("steepest"),
    **{f"fastai's {name}": fastai(name) for name in ("valley", "slide", "minimum", "steep")},
    **{f"always {rate:g}": constant(rate) for rate in (0.003, 0.01, 0.03)},
    "default": lambda setting, found: default(setting),
    "default · batch/32": scaled(1, 1),
    "default · √(batch/32)": scaled(1, 0.5),
    "default/2 · batch/32": scaled(0.5, 1),
    "default/2 · √(batch/32)": scaled(0.5, 0.5),
}


# --- regret ---

class Measured:
    """A setting, its grid and what `find` answered."""

    def __init__(self, cell):
        self.setting = Setting(**cell["setting"])
        self.found = cell["found"]
        self.trained = {}
        for result in cell["trained"]:
            self.trained.setdefault(result["rate"], {})[result["seed"]] = result
        self.accuracy = self.over_rates(lambda result: 100 * result["accuracy"])
        self.loss = self.over_rates(loss_of)

    def over_rates(self, value):
        return [(rate, statistics.fmean(map(value, seeds.values()))) for rate, seeds in sorted(self.trained.items())]

    def complete(self):
        """The best rate lies within the grid, and a range test was run."""
        return bool(self.found) and wanted(self.setting, self.trained, seeds=1) is None

    def best_rate(self):
        return max(self.accuracy, key=lambda point: point[1])[0]

    def rates(self, rule):
        """(rate, whether it is the rule's own answer) for each range test."""
        answers = [RULES[rule](self.setting, found) for found in self.found]
        return [(answer or fallback(self.setting), bool(answer)) for answer in answers]

    def rate(self, rule):
        return statistics.geometric_mean(rate for rate, _ in self.rates(rule))

    def regret(self, rule, what):
        """what: accuracy, in points, or loss."""
        points = getattr(self, what)
        sign, best = (-1, max) if what == "accuracy" else (1, min)
        at_best = best(value for _, value in points)
        return statistics.fmean(sign * (value_at(rate, points) - at_best) for rate, _ in self.rates(rule))


def value_at(rate, points):
    """points: (rate, value), rates rising."""
    if rate <= points[0][0]:
        return points[0][1]
    for (left, at_left), (right, at_right) in zip(points, points[1:]):
        if rate <= right:
            return at_left + (at_right - at_left) * math.log10(rate / left) / math.log10(right / left)
    return points[-1][1]


def measured(cells=None):
    """What is complete; cells: what --out holds, by default bench/results/auto_lr.json."""
    every = [Measured(cell) for cell in (results("auto_lr") if cells is None else cells).values()]
    return [one for one in every if one.complete()]


def by_mean_regret(every):
    """The rules, that of the lowest mean regret in accuracy first."""
    return sorted(RULES, key=lambda rule: sum(one.regret(rule, "accuracy") for one in every))


# --- tables ---

def median_mean_worst(values, digits):
    if not values:
        return "–"
    return " / ".join(f"{value:.{digits}f}"
                      for value in (statistics.median(values), statistics.fmean(values), max(values)))


def regrets(every):
    groups = {CHOSEN: [one for one in every if one.setting.chosen_with],
              ASIDE: [one for one in every if not one.setting.chosen_with]}
    rows = []
    for rule in by_mean_regret(every):
        answered = [own for one in every for _, own in one.rates(rule)]
        rows.append([f"**{rule}**" if rule == AUTO else rule,
                     *(median_mean_worst([one.regret(rule, what) for one in group], digits)
                       for what, digits in (("accuracy", 1), ("loss", 3)) for group in groups.values()),
                     f"{sum(answered)} of {len(answered)}"])
    columns = [f"{what}: {name} ({len(group)})" for what in ("points of accuracy", "loss")
               for name, group in groups.items()]
    return table(" | ".join(["rule", *columns, "answers"]), rows)


def described(s):
    """The setting's training in words; ResNet18 goes without saying."""
    network = [] if s.arch == "resnet18" else [s.arch.replace("resnet", "ResNet")]
    if s.init:
        network.append(f"from {s.init}, {'the head alone, ' if s.head_only else ''}{s.optimizer}")
    return ", ".join([f"{s.images} of {s.px} px", f"batch {s.batch}", f"{s.epochs} epochs", *network,
                      *([" ".join(s.extra)] if s.extra else [])])


def another_seed(every):
    """What no rule can know: the best rate of the whole grid by one seed, and what it loses with another."""
    regrets, scatter = [], []
    for one in every:
        accuracy = {}
        for rate, seeds in one.trained.items():
            for seed, result in seeds.items():
                accuracy.setdefault(seed, {})[rate] = 100 * result["accuracy"]
            if len(seeds) > 1:
                scatter.append(statistics.stdev(100 * result["accuracy"] for result in seeds.values()))
        lost = []
        for by, others in ((a, b) for a in accuracy for b in accuracy if a != b):
            shared = accuracy[by].keys() & accuracy[others].keys()
            if len(shared) > 1:
                best = max(sorted(shared), key=accuracy[by].get)
                lost.append(max(accuracy[others][rate] for rate in shared) - accuracy[others][best])
        if lost:
            regrets.append(statistics.fmean(lost))
    return table("settings with several seeds | points lost: median / mean / worst | deviation between seeds, median",
                 [[len(regrets), median_mean_worst(regrets, 1), f"{statistics.median(scatter):.1f} points"]])


def settings(every):
    """What was trained, and what came of it at the rate of `auto`."""
    rows = []
    for one in sorted(every, key=lambda one: (KINDS.index(kind(one.setting)), one.setting.name)):
        s = one.setting
        rows.append([s.name, kind(s), described(s), CHOSEN if s.chosen_with else ASIDE,
                     sum(len(seeds) for seeds in one.trained.values()), number(one.best_rate()), f"{max(accuracy for _, accuracy in one.accuracy):.1f} %",
                     *(number(one.rate(rule)) for rule in ("the usual rate alone", "the curve alone", AUTO)),
                     f"{one.regret(AUTO, 'accuracy'):.1f}", f"{one.regret(AUTO, 'loss'):.3f}"])
    return table("setting | kind | images and training | | runs | best rate | accuracy there | usual | curve | auto | "
                 "points lost | loss added", rows)


def tables(cells=None):
    """The tables of the page, by name."""
    every = measured(cells)
    of_kind = {name: [one for one in every if kind(one.setting) == name] for name in KINDS}
    return {"regret": regrets(every), "regret-sgd": regrets(of_kind[KINDS[0]]),
            "regret-adamw": regrets(of_kind[KINDS[1]]), "regret-tuned": regrets(of_kind[KINDS[2]]),
            "regret-settings": settings(every), "regret-another-seed": another_seed(every)}


if __name__ == "__main__":
    print("\n\n".join(f"{name}\n\n{text}" for name, text in tables().items()))
