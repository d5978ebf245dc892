"""Promises of the study of learning rates, bench/study_*.py: what it trains, on which images, what it makes of it.

    python3 tests/scripts/test_study_auto_lr.py
"""
import argparse
import contextlib
import dataclasses
import io
import json
import math
import os
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import draw_regret  # noqa: E402
import study_auto_lr  # noqa: E402
import study_regret  # noqa: E402
from study_data import Sources  # noqa: E402
from study_settings import CHOSEN_WITH, SET_ASIDE, SETTINGS, Setting, range_test, training, wanted  # noqa: E402

SGD = Setting("sgd", "flowers", 100, 32, 64, 1, chosen_with=True)


def cell(setting, trained, found):
    """trained: {(rate, seed): (accuracy, loss)}; found: what differs from an answer of 0.01 in everything."""
    same = {"auto_lr": 0.01, "curve_lr": 0.01, "usual_lr": 0.01, "prior": None, "lowest": 0.01, "edge": 0.01,
            "rules": dict.fromkeys(("steepest", "valley", "slide", "minimum", "steep"), 0.01)}
    return {"setting": dataclasses.asdict(setting),
            "trained": [{"rate": rate, "seed": seed, "accuracy": accuracy, "loss": loss, "n": 100}
                        for (rate, seed), (accuracy, loss) in trained.items()],
            "found": [{**same, "seed": seed, **answer} for seed, answer in enumerate(found)]}


# The best accuracy, 70 points, is at 0.01: the mean of 60 and 80. The best loss is at 0.03.
GRID = {(0.001, 0): (0.20, 2.0), (0.003, 0): (0.40, 1.5), (0.01, 0): (0.60, 1.0), (0.01, 1): (0.80, 0.8),
        (0.03, 0): (0.50, 0.7), (0.1, 0): (0.10, None)}


class Regret(unittest.TestCase):
    def one(self, *found, setting=SGD, trained=GRID):
        return study_regret.Measured(json.loads(json.dumps(cell(setting, trained, found))))

    def test_is_measured_from_the_best_mean_over_the_seeds(self):
        one = self.one({"auto_lr": 0.003})
        self.assertAlmostEqual(one.regret("auto", "accuracy"), 70 - 40)
        self.assertAlmostEqual(one.regret("auto", "loss"), 1.5 - 0.7)
        self.assertAlmostEqual(one.regret("always 0.01", "accuracy"), 0)
        self.assertAlmostEqual(one.regret("always 0.01", "loss"), 0.9 - 0.7)

    def test_is_linear_in_the_decades_between_two_rates_and_held_beyond_the_ends(self):
        half = math.sqrt(0.003 * 0.01)
        self.assertAlmostEqual(self.one({"auto_lr": half}).regret("auto", "accuracy"), 70 - (40 + 70) / 2)
        self.assertAlmostEqual(self.one({"auto_lr": 1e-7}).regret("auto", "accuracy"), 70 - 20)
        self.assertAlmostEqual(self.one({"auto_lr": 9.0}).regret("auto", "accuracy"), 70 - 10)

    def test_is_the_mean_over_the_range_tests(self):
        one = self.one({"auto_lr": 0.003}, {"auto_lr": 0.01}, {"auto_lr": 0.03})
        self.assertAlmostEqual(one.regret("auto", "accuracy"), (30 + 0 + 20) / 3)

    def test_of_a_training_that_diverged_is_large_and_finite(self):
        self.assertAlmostEqual(self.one({"auto_lr": 0.1}).regret("auto", "loss"), 20 - 0.7)

    def test_of_a_rule_without_an_answer_is_that_of_the_usual_default(self):
        none = {"auto_lr": None, "prior": 0.003, "curve_lr": None, "rules": dict.fromkeys(
            ("steepest", "valley", "slide", "minimum", "steep"))}
        one = self.one(none)
        self.assertEqual(one.rates("auto"), [(0.003, True)], "auto always has an answer")
        for rule in ("the curve alone", "before: √(lowest · edge)", "steepest point", "fastai's valley"):
            self.assertEqual(one.rates(rule), [(0.01, False)], rule)
        adamw = self.one(none, setting=dataclasses.replace(SGD, optimizer="adamw"))
        self.assertEqual(adamw.rates("fastai's slide"), [(0.001, False)])

    def test_rules_are_computed_as_they_are_named(self):
        found = {"lowest": 0.004, "edge": 0.09, "rules": {"steepest": 0.0001, "valley": 2e-3, "slide": 3e-3,
                                                         "minimum": 4e-3, "steep": 5e-3}}
        one = self.one(found)
        for rule, rate in (("before: √(lowest · edge)", 0.0032), ("fastai's steep", 5e-3), ("always 0.03", 0.03),
                           ("default · batch/32", 0.02), ("default/2 · √(batch/32)", 0.005 * math.sqrt(2))):
            self.assertAlmostEqual(one.rates(rule)[0][0], rate, msg=rule)
        found["rules"]["steepest"] = 0.01
        self.assertAlmostEqual(self.one(found).rates("before: √(lowest · edge)")[0][0], math.sqrt(0.004 * 0.09))
        found["edge"] = None
        self.assertAlmostEqual(self.one(found).rates("before: √(lowest · edge)")[0][0], math.sqrt(0.004 * 0.01))
        tuned = dataclasses.replace(SGD, optimizer="adamw", init="cifar")
        self.assertEqual(self.one(found, setting=tuned).rates("default"), [(0.002, True)])

    def test_tables_tell_apart_what_was_set_aside_and_how_it_was_trained(self):
        aside = dataclasses.replace(SGD, name="aside", chosen_with=False)
        adamw = dataclasses.replace(SGD, name="adamw", optimizer="adamw")
        ends_at_its_best = {(rate, 0): (rate, 1.0) for rate in (0.003, 0.01, 0.03)}
        cells = {"a": cell(SGD, GRID, [{"auto_lr": 0.003}]), "b": cell(aside, GRID, [{"auto_lr": 0.01}]),
                 "c": cell(dataclasses.replace(SGD, name="c"), GRID, [{"auto_lr": 0.01}]),
                 "d": cell(adamw, {(3e-4, 0): (0, 1.1), **GRID}, [{"auto_lr": 0.03}]),
                 "not complete": cell(SGD, ends_at_its_best, [{}]), "not asked": cell(SGD, GRID, [])}
        made = study_regret.tables(cells)
        auto = {name: next((line for line in made[name].splitlines() if line.startswith("| **auto**")), None)
                for name in ("regret", "regret-sgd", "regret-adamw")}
        self.assertEqual(auto["regret-sgd"], "| **auto** | 15.0 / 15.0 / 30.0 | 0.0 / 0.0 / 0.0 | "
                                             "0.500 / 0.500 / 0.800 | 0.200 / 0.200 / 0.200 | 3 of 3 |")
        self.assertEqual(auto["regret-adamw"], "| **auto** | 20.0 / 20.0 / 20.0 | – | "
                                               "0.000 / 0.000 / 0.000 | – | 1 of 1 |")
        self.assertIn("| **auto** | 20.0 / 16.7 / 30.0 | 0.0 / 0.0 / 0.0 |", auto["regret"])
        self.assertIn("points of accuracy: chosen with (3) | points of accuracy: set aside (1)", made["regret"])
        self.assertEqual([line.split(" | ")[0] for line in made["regret-settings"].splitlines()[2:]],
                         ["| aside", "| c", "| sgd", "| adamw"])

    def test_picture_is_what_the_results_say(self):
        with (contextlib.redirect_stderr(io.StringIO()) as err,
              unittest.mock.patch.object(sys, "argv", ["draw_regret.py", "--check"])):
            self.assertEqual(draw_regret.main(), 0, err.getvalue())


class Trainings(unittest.TestCase):
    def test_go_on_until_the_best_rate_lies_within_the_grid_then_to_other_seeds(self):
        for best, tried in ((0.01, [0.003, 0.01, 0.03]), (0.1, [0.003, 0.01, 0.03, 0.1, 0.3]),
                            (0.001, [3e-4, 0.001, 0.003, 0.01, 0.03])):
            trained = {}
            while (job := wanted(SGD, trained, 1)) is not None:
                for rate in job[1]:
                    away = abs(math.log(rate / best))
                    trained.setdefault(rate, {})[job[0]] = {"loss": away, "accuracy": -away}
            self.assertEqual(sorted(trained), tried)
            self.assertEqual(wanted(SGD, trained, 3), (1, [rate for rate in tried if 0.29 < rate / best < 3.5]))

    def test_end_at_the_ends_of_all_rates(self):
        trained = {}
        while (job := wanted(SGD, trained, 1)) is not None:
            for rate in job[1]:
                self.assertNotIn(rate, trained)
                trained[rate] = {job[0]: {"accuracy": rate, "loss": 1 / rate}}
        self.assertEqual(max(trained), 1.0)

    def test_names_are_unique_and_no_setting_that_was_set_aside_is_one_of_the_others(self):
        self.assertEqual(len({setting.name for setting in SETTINGS}), len(SETTINGS))
        bare = lambda s: dataclasses.replace(s, name="", chosen_with=False)  # noqa: E731
        self.assertFalse(set(map(bare, CHOSEN_WITH)) & set(map(bare, SET_ASIDE)))
        self.assertEqual([s.chosen_with for s in SETTINGS], [True] * len(CHOSEN_WITH) + [False] * len(SET_ASIDE))

    def test_results_are_of_the_settings_as_they_stand(self):
        settings = {setting.name: json.loads(json.dumps(dataclasses.asdict(setting))) for setting in SETTINGS}
        for name, result in json.loads((ROOT / "bench/results/auto_lr.json").read_text()).items():
            self.assertEqual(result["setting"], settings[name])

    def test_range_test_and_training_have_the_same_options(self):
        for setting in SETTINGS:
            verb, *options = training(setting, "w")
            find, *of_find = range_test(setting, "w")
            self.assertEqual((verb, find), ("finetune" if setting.init else "train", "find"))
            self.assertLessEqual(set(options) - {"--one-cycle-only"}, set(of_find), setting.name)


class Study(unittest.TestCase):
    """A program that answers as onecycle does stands in for it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for side in ("train", "val"):
            for label in "ab":
                (self.folder / "flowers" / side / label).mkdir(parents=True)
                for i in range(90):
                    (self.folder / "flowers" / side / label / f"{side}{i}.jpg").touch()
        self.calls = []

    def answer(self, binary, verb, *words):
        words = list(map(str, words))
        self.calls.append(verb)
        if verb == "find":
            return {"auto_lr": 0.01, "lr": [1e-7, 0.123456789], "loss": [1.0, None]}
        if verb == "eval":
            return {"loss": 1 - self.accuracy, "accuracy": self.accuracy, "n": 12}
        rate = float(words[words.index("--max-lr") + 1])
        self.accuracy = 1 - abs(rate - 0.01)
        return None if rate > 0.02 else {"checkpoint": "c"}

    def study(self, **options):
        args = argparse.Namespace(**{"binary": "-", "data": str(self.folder), "fashion": "-", "only": "", "seeds": 1,
                                     "out": str(self.folder / "out.json"), "workers": 1, "find_only": False,
                                     "again": False, **options})
        self.calls.clear()
        with (unittest.mock.patch.object(study_auto_lr, "run", self.answer),
              unittest.mock.patch.object(study_auto_lr, "SETTINGS", [SGD]), contextlib.redirect_stdout(io.StringIO())):
            study = study_auto_lr.Study(args)
            study.work_on()
            self.assertFalse(study.failed)
        return json.loads((self.folder / "out.json").read_text())["sgd"]

    def test_goes_on_where_it_was_and_asks_again_only_when_told(self):
        self.assertEqual(self.study(find_only=True)["trained"], [])
        self.assertEqual(self.calls, ["find"])
        kept = self.study()
        self.assertEqual(self.calls, ["train", "eval"] * 2 + ["train"])
        self.assertEqual([(t["rate"], t["accuracy"], t["n"]) for t in kept["trained"]],
                         [(0.003, 0.993, 12), (0.01, 1.0, 12), (0.03, 0.0, 0)])
        self.assertIsNone(kept["trained"][2]["loss"], "it diverged")
        self.assertEqual((kept["found"][0]["lr"], kept["found"][0]["loss"]), ([1e-7, 0.123457], [1.0, None]))
        self.study()
        self.assertEqual(self.calls, [])
        self.study(find_only=True, again=True)
        self.assertEqual(self.calls, ["find"])

    def test_images_to_evaluate_took_no_part_in_training(self):
        work = self.folder / "study"
        (work / "data").mkdir(parents=True)
        target = Sources("-", str(self.folder), "-", str(work)).folder(SGD)
        sides = {side: {os.path.realpath(file) for file in pathlib.Path(target, side).glob("*/*")}
                 for side in ("train", "val", "test")}
        self.assertEqual({side: len(files) for side, files in sides.items()}, {"train": 100, "val": 4, "test": 180})
        self.assertEqual(len(set.union(*sides.values())), 284)


if __name__ == "__main__":
    unittest.main()
