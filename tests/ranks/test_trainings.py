"""Trainings of several ranks that are stopped, or lose one: what remains, and how they go on.

    python3 tests/ranks/test_trainings.py --mpirun MPIRUN --module build/onecycle_mpi.so --program build/onecycle
"""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest

from job import Job, children, given, left_of, main


class Refusals(unittest.TestCase):
    def test_what_all_ranks_find_wrong_is_said_once(self):
        for words, code in ((("train", "--nonsense"), 2), (("train", "/nowhere"), 3), (("walk",), 2)):
            with self.subTest(words=words):
                job = Job(3, *words).wait(60)
                self.assertEqual((job.code, len(job.errors)), (code, 1), job.err)


class Trainings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        subprocess.run([given.program, "demo-data", cls.folder / "images", "--classes", "2", "--images", "100",
                        "--size", "20", "--quiet"], check=True)
        # One rank that nobody disturbs. Twenty updates an epoch.
        job = Job(1, *cls.train("whole", accumulate=2), launcher=False).wait()
        assert job.code == 0, job.err
        cls.updates = cls.newest("whole")

    @classmethod
    def train(cls, out, accumulate=1, device="cpu"):
        return ("train", cls.folder / "images", "--arch", "resnet9", "--size", "16", "--batch-size", "4", "--epochs", "6",
                "--augment", "flip", "--max-lr", "0.01", "--checkpoint-every", "10", "--threads", "1",
                "--device", device, "--accumulate", accumulate, "--quiet", "--out", cls.folder / out)

    @classmethod
    def newest(cls, run):
        """The step of the newest checkpoint; 0: none."""
        steps = [int(re.search(r"\d+", file.name)[0]) for file in (cls.folder / run / "checkpoints").glob("*.safetensors")]
        return max(steps, default=0)

    def goes_on_to_the_same_bytes(self, run, ranks):
        job = Job(ranks, "train", "--resume", self.folder / run, "--quiet", launcher=ranks > 1).wait()
        self.assertEqual(job.code, 0, job.err)
        name = f"checkpoints/step-{self.updates:06d}.safetensors"
        for file in (name, "steps.csv"):
            self.assertEqual((self.folder / run / file).read_bytes(), (self.folder / "whole" / file).read_bytes(), file)

    def until_saved(self, job, run, step):
        """Waits until a checkpoint of that step or a later one is there; returns the ranks by their number."""
        for _ in range(1200):
            if self.newest(run) >= step:
                return self.ranks_of(job)
            self.assertIsNone(job.process.poll(), job.err)
            time.sleep(0.05)
        self.fail("nothing was saved")

    @staticmethod
    def ranks_of(job):
        found = {}
        for pid in children(job.process.pid):
            words = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            found.update({int(word.split(b"=")[1]): pid for word in words if word.startswith(b"OMPI_COMM_WORLD_RANK=")})
        return found

    def test_a_signal_to_one_rank_stops_all_at_one_update(self):
        for number, code, rank, goes_on_with in ((signal.SIGTERM, 143, 1, 2), (signal.SIGINT, 130, 0, 1)):
            with self.subTest(signal=number, rank=rank):
                run = f"stopped{rank}"
                job = Job(2, *self.train(run))
                ranks = self.until_saved(job, run, 10)
                os.kill(ranks[rank], number)
                job.wait(60)
                self.assertEqual((job.code, job.errors), (code, []), job.err)
                self.assertEqual(left_of(ranks), [])
                rows = (self.folder / run / "steps.csv").read_text().splitlines()
                self.assertEqual(self.newest(run), int(rows[-1].split(",")[0]) + 1)  # saved where it stopped
                self.goes_on_to_the_same_bytes(run, goes_on_with)

    def test_a_rank_that_stops_ends_the_job_and_a_checkpoint_remains(self):
        for ranks, lost, goes_on_with in ((2, 1, 1), (2, 0, 2)):
            with self.subTest(lost=lost):
                run = f"hanging{lost}"
                job = Job(ranks, *self.train(run), settings={"ONECYCLE_RANK_TIMEOUT": "5"})
                pids = self.until_saved(job, run, 10)
                os.kill(pids[lost], signal.SIGSTOP)
                began = time.monotonic()
                job.wait(30)
                self.assertLess(time.monotonic() - began, 15)
                self.assertEqual((job.code, len(job.errors)), (7, 1), job.err)
                self.assertIn(f"a rank is lost: rank {lost} on ", job.errors[0])
                self.assertEqual(left_of(pids), [])
                self.goes_on_to_the_same_bytes(run, goes_on_with)


if __name__ == "__main__":
    main()
