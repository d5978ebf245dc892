"""Markdown tables of results: what accuracy.py, transfer.py and compare_cpu.py share."""
import json
import os
import statistics

from runs import HERE


def results(name):
    """What bench/results/NAME.json holds."""
    with open(os.path.join(HERE, "results", name + ".json")) as file:
        return json.load(file)


def table(header, rows):
    """header: the cells' text between bars, as in "data | seed"; rows: lists of text or numbers."""
    lines = [f"| {header} |", "|" + "---|" * (header.count("|") + 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def number(value):
    """A rate in two digits; a rule that had no answer is a dash."""
    return "-" if value is None else f"{value:.2g}"


def percent(shares):
    """Mean and, of several, the sample's standard deviation."""
    spread = f" ± {100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * statistics.fmean(shares):.1f}{spread} %"


TRAININGS = "trained with | seeds | rate | accuracy | validation loss"


def training_rows(cells, keys):
    """Rows of TRAININGS: each key's trainings over the cells that have it. One that diverged has no loss."""
    for key in keys:
        found = [cell[key] for cell in cells if key in cell]
        losses = [r["valid_loss"] for r in found if r["valid_loss"] is not None]
        if found:
            yield [key, len(found), ", ".join(number(r["max_lr"]) for r in found),
                   percent([r["accuracy"] for r in found]), f"{statistics.fmean(losses):.3f}" if losses else "-"]
