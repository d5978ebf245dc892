"""Small trainings to disturb, and what must be equal in the end: of kill_test, fault_sweep and soak."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# For mpirun, and on from there: as root, as in a container, and more ranks than cores.
LAUNCHER = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
}
TIMES = ("images_per_second", "seconds")  # the columns of metrics.csv that no two trainings share


def add_options(parser):
    parser.add_argument("--device", choices=["cpu", "emulated"], default="cpu")
    parser.add_argument("--program", default=str(ROOT / "build/onecycle"))
    parser.add_argument("--place", help="a folder for the trainings; default: one in memory, deleted at the end")


def add_faults_option(parser):
    parser.add_argument("--faults", default=str(ROOT / "build/tests/cli/failing_calls.so"),
                        help="the library of faults")


def require_faults(arguments):
    if not pathlib.Path(arguments.faults).exists():
        sys.exit(f"error: no library of faults: {arguments.faults}: it is not built; "
                 "fix: cmake --build build --target failing_calls")


def faulty(run, faults, at, code, for_ever=False, count=""):
    """The environment in which the call number `at` below the run's folder goes wrong."""
    return {"LD_PRELOAD": faults, "ONECYCLE_FAULT_BELOW": str(run.folder), "ONECYCLE_FAULT_AT": str(at),
            "ONECYCLE_FAULT_CODE": str(code), "ONECYCLE_FAULT_FOREVER": str(int(for_ever)),
            "ONECYCLE_FAULT_COUNT": count}


def count_calls(place, faults):
    """How many calls below its folder a training makes."""
    run, count = place.new_run("counted"), place.folder / "count"
    run.start(run.first_command(), environment=faulty(run, faults, 0, 0, count=str(count)))
    return int(count.read_text())


def fail(run, why):
    print(f"FAILED: {run.folder}: {why}", file=sys.stderr)
    run.place.keep = True
    sys.exit(1)


def children(pid):
    return [int(child) for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children")
            for child in task.read_text().split()]


def is_there(pid):
    """Whether this process lives; one that has ended and was not collected does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Run:
    def __init__(self, place, name):
        self.place, self.name, self.folder = place, name, place.folder / name

    def command_to_go_on(self):
        """What a person would type next."""
        if (self.folder / "config.json").exists():
            return ["train", "--resume", str(self.folder), "--quiet"]
        return self.first_command()

    def first_command(self):
        # A small network; the images of an epoch are 4 batches. Every second step is saved.
        return ["train", str(self.place.data), "--arch", "resnet9", "--size", "16", "--batch-size", "4",
                "--epochs", str(self.place.epochs), "--augment", "flip", "--checkpoint-every", "2", "--threads", "2",
                "--device", self.place.device, "--quiet", "--out", str(self.folder), *self.place.extra]

    def start(self, command, kill_after=None, environment=None, ranks=1, choose=lambda processes: processes[0]):
        """Runs to the end, or kills it after so many seconds and returns None: of the ranks of a job, that one
        which `choose` takes."""
        launch = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
        process = subprocess.Popen([*launch, self.place.program, *command], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True,
                                   env={**os.environ, **LAUNCHER, **(environment or {})} if launch
                                   else {**os.environ, **(environment or {})})
        try:
            process.stderr_text = process.communicate(timeout=600 if kill_after is None else kill_after)[1]
        except subprocess.TimeoutExpired:
            if kill_after is None:
                fail(self, "it did not end within ten minutes")
            members = children(process.pid) if launch else []
            os.kill(choose([process.pid, *members]), signal.SIGKILL)
            self.see_the_end(process, members)
            return None
        return subprocess.CompletedProcess(command, process.returncode, "", process.stderr_text)

    def see_the_end(self, process, members, seconds=30):
        """Of all processes of a job, of which one was killed."""
        end = time.monotonic() + seconds
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            fail(self, f"the job did not end within {seconds} s after a process of it was killed")
        while any(is_there(member) for member in members):
            if time.monotonic() > end:
                fail(self, "a rank outlived its job")
            time.sleep(0.02)

    def contents(self):
        """Every file's bytes by its path; rows of metrics.csv without the columns of time."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if not path.is_file():
                continue
            content = path.read_bytes().replace(str(self.folder).encode(), b"RUN")
            if path.name == "metrics.csv":
                content = without_times(content.decode())
            elif path.suffix == ".svg" or path.name == "find.json":
                content = b""  # tells seconds
            elif path.name == "config.json":  # how an update's batches are spread over ranks may change
                content = re.sub(rb'"(accumulate|ranks)": \d+,', b"", content)
            found[str(path.relative_to(self.folder))] = content
        return found

    def remove(self):
        shutil.rmtree(self.folder)


def without_times(text):
    rows = [line.split(",") for line in text.splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if name not in TIMES]
    return "\n".join(",".join(row[i] for i in kept) for row in rows).encode()


class Place:
    """A folder with images in it, in which trainings are run."""

    def __init__(self, arguments, extra=(), epochs=2):
        self.program, self.device, self.extra = arguments.program, arguments.device, list(extra)
        self.epochs = epochs
        self.keep = arguments.place is not None
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = pathlib.Path(arguments.place or tempfile.mkdtemp(prefix="onecycle-trial-", dir=memory))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "images"

    def __enter__(self):
        if not self.data.exists():
            subprocess.run([self.program, "demo-data", str(self.data), "--classes", "2", "--images", "10",
                            "--size", "20", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        if not self.keep:
            shutil.rmtree(self.folder)

    def new_run(self, name):
        run = Run(self, name)
        if run.folder.exists():
            run.remove()
        return run

    def undisturbed(self, ranks=1):
        run = self.new_run("undisturbed")
        ended = run.start(run.first_command(), ranks=ranks)
        if ended.returncode != 0:
            fail(run, ended.stderr)
        return run.contents()


def compare(run, expected, saves_failed=False):
    """Fails unless the run's files are those of `expected`.

    saves_failed: an older checkpoint may be missing, and another one kept in its place, which `best`
    may name; the picture may be missing or half there, and a lock that could not be removed may be
    left, which blocks nobody. The newest state and the logs are compared all the same.
    """
    found = run.contents()
    newest = max(name for name in expected if name.endswith(".safetensors"))

    def may_differ(name):
        return saves_failed and (name in ("best", ".lock", "training.svg", "training.svg.tmp")
                                 or name.startswith("checkpoints/") and name != newest)

    for name in sorted(expected.keys() | found.keys()):
        if name not in found and not may_differ(name):
            fail(run, f"{name} is missing")
        if name not in expected and not may_differ(name):
            fail(run, f"{name} should not be there")
        if name in found and name in expected and found[name] != expected[name] \
                and not (saves_failed and name == "best"):
            fail(run, f"{name} differs")
