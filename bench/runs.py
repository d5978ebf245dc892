"""What accuracy.py, transfer.py and study_auto_lr.py share: commands that answer in JSON, parts of a data set, and
results that are kept as they come."""
import argparse
import json
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def run(binary, *arguments):
    """What `onecycle` answers; None when the training diverged."""
    done = subprocess.run([binary, *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode == 6:
        return None
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def script(python, name, *arguments):
    """What a script of this folder answers in another interpreter."""
    done = subprocess.run([python, os.path.join(HERE, name), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def subset(source, target, per_class):
    """A folder of links to the first images of each class; per_class = {"train": n, "val": m}, None for all."""
    for side, count in per_class.items():
        folder = next(os.path.join(source, s) for s in ([side, "test"] if side == "val" else [side])
                      if os.path.isdir(os.path.join(source, s)))
        for name in sorted(os.listdir(folder)):
            os.makedirs(os.path.join(target, side, name), exist_ok=True)
            for image in sorted(os.listdir(os.path.join(folder, name)))[:count]:
                os.symlink(os.path.abspath(os.path.join(folder, name, image)),
                           os.path.join(target, side, name, image))
    return target


def arguments(doc):
    """The options that all have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/onecycle")
    parser.add_argument("--flowers")
    parser.add_argument("--cifar")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    return parser


class Kept(dict):
    """Results by name, read from a file if it is there; save() writes them all."""

    def __init__(self, path):
        self.path = path
        if os.path.exists(path):
            with open(path) as file:
                self.update(json.load(file))

    def save(self):
        """Writes a line a result, into a new file that takes the old one's place: a break leaves one of the two."""
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(result)}" for name, result in self.items())
        with open(self.path + "~", "w") as file:
            file.write("{\n" + lines + "\n}\n")
        os.replace(self.path + "~", self.path)
