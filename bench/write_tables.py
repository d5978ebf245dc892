#!/usr/bin/env python3
"""Writes the tables of the pages from the results that are kept in bench/results/.

    bench/write_tables.py            # rewrites what stands between the markers, and names the tables that changed
    bench/write_tables.py --check    # changes nothing; fails where a page is not what the results say

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. A script that measures has a function tables(), which
answers {name: Markdown} from its own results, and stands in SCRIPTS below. Sentences around the tables are written by
hand: read them again when a table changes. Needs the standard library only, no data and no program.
"""
import argparse
import importlib
import pathlib
import re
import sys

from markdown_table import percent, results, table

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/results.md", "docs/scale.md", "docs/transfer.md")
SCRIPTS = ("accuracy", "transfer", "study_regret", "compare_cpu", "photos", "ranks_cpu", "simulate_ranks")
PLACE = re.compile(r"^<!-- table: (\S+) -->\n(.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"^\s*<!-- (?:table|end)\b.*$", re.MULTILINE)


def front():
    """The README's table: what the others say of each, in a few lines."""
    cells = results("accuracy")
    rows = []
    for name, text in (("flowers", "flowers, ResNet34, 64 px, 6 epochs: accuracy"),
                       ("cifar", "CIFAR-10, 10,000 images, ResNet18, 32 px, 4 epochs: accuracy")):
        of = [cell for key, cell in cells.items() if key.startswith(name + " ")]
        rows.append([text, *(percent([cell[key]["accuracy"] for cell in of]) for key in ("onecycle", "pytorch"))])
    for case in results("speed")["cases"]:
        if case["px"] >= 64:
            network = case["network"].replace("resnet", "ResNet")
            rows.append([f"{network} training step, {case['px']} px, batch {case['batch']}",
                         f"**{case['onecycle']:.1f} images/s**", f"{case['pytorch']:.1f} images/s"])
    return {"front": table("| onecycle | PyTorch", rows)}


def made():
    """All tables by name."""
    every = front()
    for name in SCRIPTS:
        for key, text in getattr(importlib.import_module(name), "tables", dict)().items():
            if key in every:
                raise SystemExit(f"error: two tables of one name: {key}: {name}.py makes it, too; fix: rename one")
            every[key] = text
    return every


def written(text, every, page):
    """The page with its tables, and the names of those that changed."""
    changed, known = [], set()

    def put(place):
        name, old = place.groups()
        if name not in every:
            raise SystemExit(f"error: unknown table: {page}: {name}: no script makes it; "
                             f"fix: one of {', '.join(sorted(every))}")
        known.add(name)
        if old != every[name] + "\n":
            changed.append(name)
        return f"<!-- table: {name} -->\n{every[name]}\n<!-- end -->"

    fresh = PLACE.sub(put, text)
    stray = MARKER.search(PLACE.sub("", text))
    if stray or any(MARKER.search(place[2]) for place in PLACE.finditer(text)):
        where = stray.group().strip() if stray else "a marker within a table"
        raise SystemExit(f"error: markers do not match: {page}: {where}; "
                         "fix: each table between `<!-- table: NAME -->` and `<!-- end -->`, each on a line of its own")
    return fresh, changed, known


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, fail where a page differs")
    options = parser.parse_args(words)
    every, placed, differ = made(), set(), []
    for page in PAGES:
        path = ROOT / page
        text = path.read_text()
        fresh, changed, known = written(text, every, page)
        placed |= known
        differ += [f"{page}: {name}" for name in changed]
        if changed and not options.check:
            path.write_text(fresh)
    if missing := sorted(set(every) - placed):
        raise SystemExit(f"error: table without a place: {', '.join(missing)}: {', '.join(PAGES)}: no marker names it; "
                         "fix: put `<!-- table: NAME -->` and `<!-- end -->` where it belongs")
    for line in differ:
        print(line)
    if differ and options.check:
        print("error: tables differ from bench/results: the pages above: a figure was changed on one side only; "
              "fix: run bench/write_tables.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
