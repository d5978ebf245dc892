#!/usr/bin/env python3
"""Draws what each rule for the maximum of one cycle costs: docs/img/regret.svg, from bench/results/auto_lr.json.

    bench/draw_regret.py            # rewrites the picture
    bench/draw_regret.py --check    # changes nothing; fails where the picture is not what the results say

A row a rule, a dot a setting: the points of accuracy that the rule's rate loses against the best of the grid. Needs the
standard library only.
"""
import argparse
import html
import math
import pathlib
import statistics
import sys

from study_regret import AUTO, by_mean_regret, measured

PICTURE = pathlib.Path(__file__).resolve().parents[1] / "docs/img/regret.svg"
LEFT, RIGHT, TOP, ROW, WIDTH = 210, 716, 112, 30, 800
RADIUS = 3.6
TICKS = (0, 1, 2, 5, 10, 20, 40, 80)
# Colours and type as in the pictures that onecycle draws.
STYLE = """<style>
text{font-family:-apple-system,"Segoe UI","DejaVu Sans",Helvetica,Arial,sans-serif;font-size:13px;fill:#57606a}
.title{font-size:18px;font-weight:600;fill:#1f2328}.strong{font-weight:600;fill:#1f2328}
.paper{fill:#ffffff}.grid{stroke:#d8dee4;stroke-width:1}.axis{text-anchor:middle}.rule{text-anchor:end}
.chosen{fill:#6e7781;fill-opacity:.55}.aside{fill:none;stroke:#6e7781;stroke-width:1.4}
.mean{stroke:#1f2328;stroke-width:2.4}
.main .chosen{fill:#0969da}.main .aside{stroke:#0969da}
@media (prefers-color-scheme:dark){
text{fill:#9198a1}.title,.strong{fill:#f0f6fc}.paper{fill:#0d1117}.grid{stroke:#262c36}
.chosen{fill:#8b949e}.aside{stroke:#8b949e}.mean{stroke:#f0f6fc}
.main .chosen{fill:#58a6ff}.main .aside{stroke:#58a6ff}
}
</style>"""


class Axis:
    """Points of accuracy on a scale of roots, so that small regrets are told apart and large ones still fit."""

    def __init__(self, largest):
        self.end = math.sqrt(max(largest, 1))
        self.ticks = [tick for tick in TICKS if tick <= largest]

    def __call__(self, points):
        return LEFT + (RIGHT - LEFT) * math.sqrt(max(points, 0)) / self.end


def stacked(positions):
    """How far each dot stands above or below its row's middle, so that few hide another; positions rising."""
    offsets = []
    for i, x in enumerate(positions):
        near = [offset for other, offset in zip(positions, offsets) if x - other < 2 * RADIUS]
        steps = (sign * step * RADIUS for step in range(4) for sign in (1, -1))
        offsets.append(next((step for step in steps if all(abs(step - offset) >= 2 * RADIUS for offset in near)),
                            (i % 7 - 3) * RADIUS))
    return offsets


def row(rule, every, axis, middle):
    dots = sorted((one.regret(rule, "accuracy"), one.setting.chosen_with, one.setting.name) for one in every)
    mean = statistics.fmean(regret for regret, _, _ in dots)
    lines = [f'<g class="{"main" if rule == AUTO else "other"}">',
             f'<path class="grid" d="M{LEFT} {middle}H{RIGHT}"/>',
             f'<text class="rule{" strong" if rule == AUTO else ""}" x="{LEFT - 16}" y="{middle + 4}">'
             f'{html.escape(rule)}</text>']
    for (regret, chosen, name), offset in zip(dots, stacked([axis(regret) for regret, _, _ in dots])):
        lines.append(f'<circle class="{"chosen" if chosen else "aside"}" cx="{axis(regret):.1f}" '
                     f'cy="{middle + offset:.1f}" r="{RADIUS}">'
                     f'<title>{html.escape(name)}: {regret:.1f}</title></circle>')
    lines.append(f'<path class="mean" d="M{axis(mean):.1f} {middle - 11}v22"/>')
    lines.append(f'<text class="{"strong" if rule == AUTO else "value"}" x="{RIGHT + 24}" y="{middle + 4}">'
                 f'{mean:.1f}</text>')
    return [*lines, "</g>"]


def picture(every):
    """The SVG of measured settings."""
    rules = by_mean_regret(every)
    axis = Axis(max(one.regret(rule, "accuracy") for one in every for rule in rules))
    bottom = TOP + ROW * len(rules)
    chosen = sum(one.setting.chosen_with for one in every)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 56}" width="{WIDTH}" '
             f'height="{bottom + 56}" role="img">', STYLE,
             f'<rect class="paper" width="{WIDTH}" height="{bottom + 56}" rx="8"/>',
             '<text class="title" x="24" y="34">What a rule for the learning rate costs</text>',
             '<text x="24" y="56">Points of accuracy below the best rate of the grid. A dot is a setting, '
             'the line is their mean.</text>',
             f'<circle class="chosen" cx="30" cy="76" r="{RADIUS}"/><text x="42" y="80">'
             f'the rule was chosen with these ({chosen})</text>',
             f'<circle class="aside" cx="286" cy="76" r="{RADIUS}"/><text x="298" y="80">'
             f'set aside, not seen when it was chosen ({len(every) - chosen})</text>',
             f'<text x="{RIGHT + 16}" y="{TOP - 12}">mean</text>']
    for tick in axis.ticks:
        lines.append(f'<path class="grid" d="M{axis(tick):.1f} {TOP - 4}V{bottom}"/>')
        lines.append(f'<text class="axis" x="{axis(tick):.1f}" y="{bottom + 20}">{tick:g}</text>')
    lines.append(f'<text class="axis" x="{(LEFT + RIGHT) / 2}" y="{bottom + 42}">points of accuracy lost</text>')
    for i, rule in enumerate(rules):
        lines += row(rule, every, axis, TOP + ROW * i + ROW // 2)
    return "\n".join([*lines, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, fail where the picture differs")
    options = parser.parse_args()
    drawn = picture(measured())
    if not options.check:
        PICTURE.write_text(drawn)
    elif not PICTURE.exists() or PICTURE.read_text() != drawn:
        print("error: picture differs from bench/results: docs/img/regret.svg: a result changed after it was drawn; "
              "fix: run bench/draw_regret.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
