"""Starts a program as the ranks of a job, by mpirun, and sees how it ends."""
import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
from trial import LAUNCHER, children, is_there

given = argparse.Namespace()


def main(*more):
    parser = argparse.ArgumentParser()
    for name in ("mpirun", "module", "program", *more):
        parser.add_argument("--" + name, required=True)
    known, rest = parser.parse_known_args()
    given.__dict__.update(vars(known))
    unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2)


def left_of(pids, seconds=10):
    """The ranks of {rank: pid} that have not ended after so many seconds."""
    for _ in range(seconds * 10):
        if not any(is_there(pid) for pid in pids.values()):
            return []
        time.sleep(0.1)
    return [rank for rank, pid in pids.items() if is_there(pid)]


class Job:
    """`mpirun -n RANKS PROGRAM WORDS...`, on the way or ended."""

    def __init__(self, ranks, *words, settings=None, options=(), module=None, launcher=True,
                 prefix=(), program=None):
        self.files = {name: tempfile.TemporaryFile("w+") for name in ("out", "err")}
        self.texts = {}
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("OMPI_", "PMI", "SLURM_", "ONECYCLE_"))}
        environment |= LAUNCHER | {"ONECYCLE_MPI_MODULE": module or given.module} | (settings or {})
        launch = [given.mpirun, "-n", str(ranks), *options] if launcher else []
        self.began = time.monotonic()
        self.process = subprocess.Popen([*prefix, *launch, program or given.program, *map(str, words)], env=environment,
                                        stdout=self.files["out"], stderr=self.files["err"], stdin=subprocess.DEVNULL)

    def wait(self, seconds=120):
        try:
            self.code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            raise AssertionError(f"it had not ended after {seconds} s: {self.err}") from None
        self.seconds = time.monotonic() - self.began
        for name, file in self.files.items():
            self.texts[name] = self._text(file)
            file.close()
        return self

    @staticmethod
    def _text(file):
        file.seek(0)
        return file.read()

    @property
    def out(self):
        return self._text(self.files["out"]) if not self.texts else self.texts["out"]

    @property
    def err(self):
        return self._text(self.files["err"]) if not self.texts else self.texts["err"]

    @property
    def errors(self):
        """The program's own lines on stderr; mpirun says more."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    def pids(self, ranks):
        """Of each rank that has written "rank R: PID"; waits until `ranks` have."""
        for _ in range(600):
            found = dict(re.findall(r"^rank (\d+): (\d+)$", self.out, re.M))
            if len(found) == ranks:
                return {int(rank): int(pid) for rank, pid in found.items()}
            time.sleep(0.05)
        raise AssertionError(f"not all ranks started: {self.out}{self.err}")
