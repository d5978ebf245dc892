"""R ranks give, byte for byte, what one rank with R times the --accumulate gives.

    python3 tests/ranks/test_equal_results.py --mpirun MPIRUN --module build/onecycle_mpi.so --program build/onecycle
"""
import pathlib
import subprocess
import tempfile
import unittest

from job import Job, given, main

SMALL = ("--arch", "resnet9", "--size", "16", "--threads", "1", "--quiet")
# All that is drawn, averaged, clipped or weighed.
EVERYTHING = ("--augment", "strong", "--mixup", "0.2", "--cutmix", "1", "--dropout", "0.1", "--label-smoothing", "0.1",
              "--ema", "0.9", "--class-weights", "balanced", "--clip-norm", "1")


class EqualResults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        subprocess.run([given.program, "demo-data", cls.folder / "images", "--classes", "3", "--images", "10",
                        "--size", "20", "--quiet"], check=True)
        subprocess.run([given.program, "pack", cls.folder / "images", "-o", cls.folder / "shards", "--quiet"], check=True)

    def run_ranks(self, ranks, *words):
        job = Job(ranks, *words, launcher=ranks > 1).wait(240)
        self.assertEqual(job.code, 0, job.err)
        return job.out

    def trained(self, ranks, accumulate, *words, data="images"):
        out = self.folder / f"run-{ranks}-{accumulate}-{len(list(self.folder.iterdir()))}"
        self.run_ranks(ranks, "train", self.folder / data, "--batch-size", "2", "--accumulate", accumulate, *SMALL,
                       "--out", out, *words)
        return out

    def assert_same(self, one, other):
        newest = sorted((one / "checkpoints").glob("*.safetensors"))[-1].name
        for file in (f"checkpoints/{newest}", "steps.csv"):
            self.assertEqual((one / file).read_bytes(), (other / file).read_bytes(), file)

    def test_ranks_are_micro_batches(self):
        one = self.trained(1, 6, "--epochs", "2", "--max-lr", "0.01", *EVERYTHING)
        for ranks, accumulate in ((2, 3), (3, 2), (6, 1)):
            with self.subTest(ranks=ranks):
                self.assert_same(one, self.trained(ranks, accumulate, "--epochs", "2", "--max-lr", "0.01", *EVERYTHING))

    def test_shards_on_ranks_are_the_folder_on_one(self):
        words = ("--epochs", "1", "--max-lr", "0.01")
        self.assert_same(self.trained(1, 2, *words), self.trained(2, 1, *words, data="shards"))

    def test_ranks_are_micro_batches_on_the_emulated_device(self):
        words = ("--epochs", "1", "--max-lr", "0.01", "--device", "emulated", "--mixup", "0.2", "--dropout", "0.1")
        for more in (("--precision", "fp16", "--input", "stream"), ("--precision", "bf16", "--input", "resident")):
            with self.subTest(more=more):
                self.assert_same(self.trained(1, 2, *words, *more), self.trained(2, 1, *words, *more))

    def test_find_eval_and_predict_answer_alike(self):
        run = self.trained(1, 1, "--epochs", "1", "--max-lr", "0.01")
        images = self.folder / "images"
        for words in (("eval", images, "--model", run, "--batch-size", "4", "--threads", "1", "--json"),
                      ("eval", images, "--model", run, "--batch-size", "3", "--threads", "1", "--json", "--all",
                       "--top-losses", "7", "--tta"),
                      ("predict", images, "--model", run, "--batch-size", "4", "--threads", "1", "--json")):
            self.assertEqual(self.run_ranks(1, *words), self.run_ranks(3, *words), words[0])
        find = ("find", images, "--batch-size", "2", "--steps", "30", *SMALL)
        self.run_ranks(1, *find, "--accumulate", "2", "--out", self.folder / "find-1")
        self.run_ranks(2, *find, "--out", self.folder / "find-2")
        self.assertEqual((self.folder / "find-1" / "find.csv").read_bytes(),
                         (self.folder / "find-2" / "find.csv").read_bytes())


if __name__ == "__main__":
    main()
