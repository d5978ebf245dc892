"""Two ranks with --sync-batch-norm train as one rank with a batch twice as large does, within rounding.

    python3 tests/ranks/test_sync_batch_norm.py --mpirun MPIRUN --module build/onecycle_mpi.so \\
        --program build/onecycle --steps build/tests/ranks/synchronized_steps
"""
import csv
import json
import pathlib
import tempfile
import unittest

from job import Job, given, main

BATCH = 8  # of one rank; of two ranks together


class SyncBatchNorm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.place = pathlib.Path(cls.folder.name)
        made = Job(1, "demo-data", cls.place / "images", "--classes", 2, "--images", 40, "--size", 20,
                   launcher=False).wait()
        assert made.code == 0, made.err

    def ended(self, job):
        job.wait(240)
        self.assertEqual(job.code, 0, job.err)

    def trained(self, name, ranks, *words, rate=0.01):
        """The losses of the updates, and that of the evaluation after the last one."""
        run = self.place / name
        self.ended(Job(ranks, "train", self.place / "images", "--out", run, "--arch", "resnet9", "--size", 16,
                       "--augment", "none", "--batch-size", BATCH // ranks, "--epochs", 1, "--max-lr", rate,
                       "--threads", 1, "--quiet", *words, launcher=ranks > 1))
        with open(run / "steps.csv") as steps, open(run / "metrics.csv") as metrics:
            return ([float(row["loss"]) for row in csv.DictReader(steps)],
                    float(next(csv.DictReader(metrics))["valid_loss"]))

    def assert_as_one(self, device, tolerance, *words, rate=0.01):
        one, one_valid = self.trained(f"{device}-{len(words)}-one", 1, "--device", device, *words, rate=rate)
        two, two_valid = self.trained(f"{device}-{len(words)}-two", 2, "--device", device, "--sync-batch-norm", *words, rate=rate)
        apart, apart_valid = self.trained(f"{device}-{len(words)}-apart", 2, "--device", device, *words, rate=rate)
        self.assertGreaterEqual(len(one), 2)
        for i in range(2):  # later ones drift apart, as any two roundings do
            self.assertLess(abs(one[i] - two[i]), tolerance * one[i], f"update {i}: {one} {two}")
        # Running statistics alone count here.
        self.assertLess(abs(one_valid - two_valid), 100 * tolerance * one_valid)
        self.assertGreater(abs(one[0] - apart[0]), 100 * tolerance * one[0], "without it they differ at once")

    def test_ten_steps_of_two_and_of_three_ranks_are_those_of_pytorch(self):
        for ranks in (2, 3):
            job = Job(ranks, program=given.steps).wait(240)
            self.assertEqual(job.code, 0, job.out + job.err)

    def test_two_ranks_are_one_with_twice_the_batch(self):
        self.assert_as_one("cpu", 1e-5)
        self.assertTrue(json.loads((self.place / "cpu-0-two/config.json").read_text())["sync_batch_norm"])
        self.assertNotIn("sync_batch_norm", (self.place / "cpu-0-one/config.json").read_text())

    def test_two_ranks_are_one_with_twice_the_batch_on_the_emulated_device(self):
        self.assert_as_one("emulated", 1e-5, "--precision", "fp32")

    def test_accumulated_batches_are_normalised_by_those_of_all_ranks_at_a_time(self):
        self.assert_as_one("cpu", 1e-5, "--accumulate", 2, rate=0.001)

    def test_one_rank_ignores_it(self):
        self.assertEqual(self.trained("plain", 1, "--device", "cpu"),
                         self.trained("flag", 1, "--device", "cpu", "--sync-batch-norm"))

    def test_a_run_is_not_resumed_with_another_number_of_ranks(self):
        self.trained("stopped", 2, "--device", "cpu", "--sync-batch-norm")
        job = Job(1, "train", self.place / "images", "--resume", self.place / "stopped", launcher=False).wait()
        self.assertEqual(job.code, 2, job.err)
        self.assertIn("--sync-batch-norm", job.errors[0])
        self.assertIn("as many ranks as before: 2", job.errors[0])
        self.ended(Job(2, "train", "--resume", self.place / "stopped"))


if __name__ == "__main__":
    main("steps")
