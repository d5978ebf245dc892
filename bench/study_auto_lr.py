#!/usr/bin/env python3
"""Which rate should `--max-lr auto` train with? For many settings: what the rates of a grid lead to, what `find` says.

    bench/fetch_data data
    python3 bench/study_auto_lr.py --binary build/onecycle --data data --out bench/results/auto_lr.json

Trains each setting of study_settings.py at half decades of the maximum of one cycle, until the best one lies within the
grid, then again with other seeds around the best. Evaluates on images that took no part (study_data.py makes the
folders, in data/study). Asks `onecycle find` for its rate, with the same options and seeds. study_regret.py makes the
tables, draw_regret.py the picture.

The results are written after each training; what is in them is not run again, so that a study that was stopped goes on.
Needs the standard library, Debian's dataset-fashion-mnist, and Pillow for the pairs of signs.
"""
import argparse
import dataclasses
import os
import sys
import tempfile
import threading
import time

from runs import Kept, run
from study_data import Sources
from study_settings import PRETRAINED, SETTINGS, range_test, training, wanted

ANSWERS = ("auto_lr", "curve_lr", "usual_lr", "prior", "suggestion", "lowest", "edge", "rules")
NO_CHECKPOINT_BEFORE_THE_END = ["--checkpoint-every", 1000000]


def six_digits(values):
    return [None if value is None else float(f"{value:.6g}") for value in values]


class Study:
    def __init__(self, args):
        self.args = args
        self.settings = [s for s in SETTINGS if s.name.startswith(tuple(args.only.split(",")))]
        self.results = Kept(args.out)
        self.work = os.path.join(args.data, "study")
        self.sources = Sources(args.binary, args.data, args.fashion, self.work)
        self.asked, self.taken, self.failed = set(), set(), set()
        self.lock, self.making = threading.Lock(), threading.Lock()
        for folder in ("data", "sources"):
            os.makedirs(os.path.join(self.work, folder), exist_ok=True)

    # --- what is run ---

    def run(self, *arguments):
        return run(self.args.binary, *arguments, "--threads", 1)

    def weights(self, name):
        """The file of the network that fine-tuning starts from; trained at its first use."""
        file = os.path.join(self.work, f"{name}.safetensors")
        if not os.path.exists(file):
            images = os.path.join(self.args.data, "cifar10" if name == "cifar" else name)
            with tempfile.TemporaryDirectory() as folder:
                out = os.path.join(folder, "run")
                result = self.run("train", images, *PRETRAINED[name], *NO_CHECKPOINT_BEFORE_THE_END, "--out", out)
                print(f"{name}: pretrained, accuracy {result['epochs'][-1]['accuracy']:.3f}", flush=True)
                run(self.args.binary, "export", out, "--to", file)
        return file

    def made(self, setting):
        """The setting's folder of images, and the weights that it starts from."""
        with self.making:
            return self.sources.folder(setting), self.weights(setting.init) if setting.init else None

    def train(self, setting, rate, seed):
        data, weights = self.made(setting)
        verb, *options = training(setting, weights)
        with tempfile.TemporaryDirectory() as folder:
            result = self.run(verb, data, *options, *NO_CHECKPOINT_BEFORE_THE_END, "--max-lr", rate, "--seed", seed,
                              "--out", os.path.join(folder, "run"))
            if result is None:
                return {"rate": rate, "seed": seed, "loss": None, "accuracy": 0.0, "n": 0}
            end = self.run("eval", os.path.join(data, "test"), "--model", result["checkpoint"])
        return {"rate": rate, "seed": seed, "loss": end["loss"], "accuracy": end["accuracy"], "n": end["n"]}

    def find(self, setting, seed):
        data, weights = self.made(setting)
        verb, *options = range_test(setting, weights)
        with tempfile.TemporaryDirectory() as folder:
            answer = self.run(verb, data, *options, "--seed", seed, "--out", os.path.join(folder, "find"))
        return {"seed": seed, **{name: answer.get(name) for name in ANSWERS},
                "lr": six_digits(answer["lr"]), "loss": six_digits(answer["loss"])}

    # --- what is next ---

    def jobs(self, setting):
        """What this setting wants next: (seed, rate), lower seeds first; a rate of None is a range test."""
        cell = self.results.get(setting.name, {})
        found = {answer["seed"] for answer in cell.get("found", [])}
        for seed in range(self.args.seeds):
            if seed not in found or self.args.again and (setting.name, seed) not in self.asked:
                yield seed, None
        if not self.args.find_only:
            trained = {}
            for result in cell.get("trained", []):
                trained.setdefault(result["rate"], {})[result["seed"]] = result
            seed, rates = wanted(setting, trained, self.args.seeds) or (0, [])
            yield from ((seed, rate) for rate in rates)

    def next(self):
        """The next job of all settings, every setting with one seed before any with the next: (setting, seed, rate)."""
        open_jobs = [(setting, *job) for setting in self.settings if setting.name not in self.failed
                     for job in self.jobs(setting) if (setting.name, *job) not in self.taken]
        return min(open_jobs, key=lambda job: job[1], default=None)

    def keep(self, setting, seed, rate, result):
        cell = self.results.setdefault(setting.name, {"setting": {}, "trained": [], "found": []})
        cell["setting"] = dataclasses.asdict(setting)
        if rate is None:
            self.asked.add((setting.name, seed))
            cell["found"] = sorted([answer for answer in cell["found"] if answer["seed"] != seed] + [result],
                                   key=lambda answer: answer["seed"])
        else:
            cell["trained"].append(result)
            cell["trained"].sort(key=lambda training: (training["rate"], training["seed"]))
        self.results.save()

    def work_on(self):
        while True:
            with self.lock:
                job = self.next()
                idle = not self.taken
                if job:
                    setting, seed, rate = job
                    taken = (setting.name, seed, rate)
                    self.taken.add(taken)
            if not job:
                if idle:
                    return
                time.sleep(1)  # what another worker ends with may want more
                continue
            result, began = None, time.time()
            try:
                result = self.find(setting, seed) if rate is None else self.train(setting, rate, seed)
            except (Exception, SystemExit) as error:
                print(f"{setting.name}: left out: {error}", file=sys.stderr, flush=True)
            with self.lock:
                self.taken.discard(taken)
                if result is None:
                    self.failed.add(setting.name)
                    continue
                self.keep(setting, seed, rate, result)
            what = f"find {result['auto_lr']}" if rate is None else (
                f"rate {rate:g} loss {result['loss']} accuracy {result['accuracy']:.3f}")
            print(f"{setting.name} seed {seed}: {what}, {time.time() - began:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/onecycle")
    parser.add_argument("--data", required=True, help="the folder that bench/fetch_data made")
    parser.add_argument("--fashion", default="/usr/share/datasets/fashion-mnist", help="Fashion-MNIST's four files")
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="", help="beginnings of settings' names, with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="commands at once, a thread each")
    parser.add_argument("--find-only", action="store_true", help="train nothing, only ask `find`")
    parser.add_argument("--again", action="store_true", help="ask `find` again where it has answered: a new rule")
    study = Study(parser.parse_args())
    workers = [threading.Thread(target=study.work_on) for _ in range(study.args.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return 1 if study.failed else 0


if __name__ == "__main__":
    sys.exit(main())
