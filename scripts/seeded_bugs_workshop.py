"""A copy of the tree in which a bug is planted and a test is run: for scripts/seeded_bugs and scripts/exercise."""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parent.parent

BUILDS = {"shadow": "shadow", "plain": "debug", "asan": "asan"}  # and their presets

# What a test's output says when a checker has found something. First match of a build counts.
SIGNS = [
    ("race", r"data race"),
    ("no value", r"memory that has no value|memory that was left without a value"),
    ("undeclared", r"an access that the operation does not declare"),
    ("out of bounds", r"an access out of bounds|a write outside an array in shared memory|a kernel touched device memory"),
    ("graph order", r"an edge is missing in a graph"),
    ("barrier", r"threads wait for each other for ever|bad exchange between the lanes"),
    ("asan", r"ERROR: AddressSanitizer"),
    ("ubsan", r"runtime error: "),
]


class NotBuilt(Exception):
    """Nobody has found anything: there is nothing to run."""


class Workshop:
    def __init__(self, folder, prefix):
        self.folder, self.prefix, self.said = folder, prefix, ""
        self.tree = folder / "tree"

    def command(self, words, **more):
        return subprocess.run([*self.prefix, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", **more)

    def prepare(self, builds, more=()):
        self.tree.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        for name in subprocess.run(["git", "ls-files", "-z"], cwd=TREE, check=True, capture_output=True,
                                   text=True).stdout.split("\0")[:-1]:
            copy = self.tree / name
            if name.startswith(("src/", "kernels/", "tests/")):
                digest.update((TREE / name).read_bytes())
            if not copy.exists() or copy.read_bytes() != (TREE / name).read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(TREE / name, copy)
                copy.touch()
        for preset in (BUILDS[build] for build in builds):
            done = subprocess.run(["cmake", "--preset", preset, "-DONECYCLE_CUDA=OFF", "--log-level=WARNING", *more],
                                  cwd=self.tree, stdout=subprocess.DEVNULL)
            if done.returncode:
                sys.exit(f"error: cannot configure: {preset}: cmake failed")

        self.digest = digest.hexdigest()

    def binaries(self, build):
        return self.tree / f"build-{BUILDS[build]}"

    def build(self, build, targets):
        return self.command(["cmake", "--build", self.binaries(build), "-j2", "--target", *targets])

    def run(self, build, test, pattern):
        found = list((self.binaries(build) / "tests").glob(f"*/{test}"))
        environment = dict(os.environ, OMP_WAIT_POLICY="passive", ASAN_OPTIONS="detect_leaks=0")
        try:
            return self.command(["timeout", "900", found[0], f"--gtest_filter={pattern}"], env=environment)
        except IndexError:
            sys.exit(f"error: no such test: {test}")

    def verdict(self, build, tests):
        """None if all tests pass, else what found the bug."""
        built = self.build(build, [test for test, *_ in tests])
        if built.returncode:
            lines = re.findall(r".*error:.*", built.stdout) or built.stdout.splitlines()[-1:]
            raise NotBuilt(f"does not compile: {' '.join(lines[:1])}")
        failed, self.said = False, ""
        for test, *patterns in tests:
            pattern = patterns[0] if build == "plain" else patterns[-1]  # the checkers take their time
            done = self.run(build, test, pattern)
            for name, sign in SIGNS:
                if done.returncode and (line := re.search(f".*({sign}).*", done.stdout)):
                    self.said = line[0]
                    return name
            if done.returncode == 124:
                return "no end"
            failed = failed or done.returncode != 0
        return "wrong numbers" if failed else None


class Seeded:
    """The tree with one bug in it."""

    def __init__(self, tree, bug):
        self.path = tree / bug["file"]
        self.before = self.path.read_text()
        if self.before.count(bug["old"]) != 1:
            sys.exit(f"error: cannot seed {bug['name']}: {bug['file']}: its text is there "
                     f"{self.before.count(bug['old'])} times")
        self.after = self.before.replace(bug["old"], bug["new"])

    def plant(self):
        self.path.write_text(self.after)

    def __enter__(self):
        self.plant()

    def __exit__(self, *_):
        self.path.write_text(self.before)
