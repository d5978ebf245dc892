"""Where programs and libraries are, and how one is run within the time that is left."""
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import time

import children
from results import Failure, Skip

ROOT = pathlib.Path(__file__).resolve().parents[2]


def build_folder(given):
    """Where the programs are: in an archive bin/, else what the presets build."""
    if given:
        return pathlib.Path(given)
    places = [ROOT / "bin", ROOT / "build", ROOT / "build-ci"]
    return next((p for p in places if (p / "onecycle").exists()), ROOT / "build")


def find_program(build, name):
    for path in (build / name, *build.glob(f"tests/*/{name}"), *build.glob(f"bench/**/{name}")):
        if path.is_file():
            return str(path)
    raise Skip(f"{name} is not built")


class Machine:
    def __init__(self, o, disk):
        self.o, self.disk, self.small, self.stopped = o, disk, o.rehearse, False
        self.device = "emulated" if self.small else "cuda"
        self.arch = "resnet18" if self.small else "resnet34"
        self.build = build_folder(o.build)
        self.detour = ([], {})  # options and variables without which a step does not run
        self.end = self.stage_end = time.monotonic() + o.budget
        self.known = {}  # what an earlier try of the stage under way found
        self.environment = dict(os.environ, OMP_WAIT_POLICY="passive", PYTHONUNBUFFERED="1")
        self.environment["ONECYCLE_TEST_DEVICE"] = self.device
        self.environment["XDG_CACHE_HOME"] = str(disk.folder.resolve() / "cache")  # plans that are found stay
        self.environment["TORCHINDUCTOR_CACHE_DIR"] = str(self.scratch("inductor"))
        if (data := ROOT / "tests" / "reference" / "data").is_dir():
            self.environment["ONECYCLE_TEST_DATA"] = str(data)
        self.python = next((p for p in (o.python, "python3") if p and self.has_torch(p)), None)
        if folders := self.wheels():
            before = self.environment.get("ONECYCLE_LIBRARY_PATH")
            self.environment["ONECYCLE_LIBRARY_PATH"] = ":".join([*folders, *([before] if before else [])])

    def scratch(self, name):
        folder = pathlib.Path(self.o.scratch) / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.disk.failed(folder, error)
        return folder

    def has_torch(self, python):
        code = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"
        return shutil.which(python) and children.run([python, "-c", code], self.environment, 20)[2] == 0

    def wheels(self):
        """The library folders of NVIDIA's wheels: of cuDNN, cuBLAS and whatever they need."""
        if not self.python:
            return []
        code = ("import importlib.util as u; s = u.find_spec('nvidia')\n"
                "print('\\n'.join(s.submodule_search_locations if s else []))")
        found = children.run([self.python, "-c", code], self.environment, 20)[0].split()
        return [folder for root in found for folder in sorted(glob.glob(root + "/*/lib"))]

    def carried(self):
        """For our own programs: the libraries that came with them. The machine's own tools have theirs."""
        if not (ROOT / "lib").is_dir():
            return {}
        return {"LD_LIBRARY_PATH": ":".join(filter(None, (str(ROOT / "lib"), self.environment.get("LD_LIBRARY_PATH"))))}

    def program(self, name):
        return find_program(self.build, name)

    def tool(self, name):
        """A program of the machine's; in a rehearsal only what stands among the programs."""
        places = [str(self.build / name)] if self.small else [
            shutil.which(name), *sorted(glob.glob(f"/usr/local/cuda*/bin/{name}"))]
        found = next((p for p in places if p and os.path.isfile(p)), None)
        if not found:
            raise Skip(f"{name} is not here")
        return found

    def begin_stage(self, most, known):
        self.stage_end, self.known = min(self.end, time.monotonic() + most), known

    def left(self):
        return self.end - time.monotonic()

    def left_of_stage(self):
        return self.stage_end - time.monotonic()

    def run(self, *command, limit=60.0, merge=False, environment=None):
        """(standard output, exit code, trouble) of a program; trouble is the last line that says what was wrong."""
        command = [str(word) for word in command]
        start = time.monotonic()
        limit = max(0.5, min(limit, self.left_of_stage()))
        text, errors, code, stopped = children.run(command, {**self.environment, **(environment or {})}, limit, merge)
        seconds = time.monotonic() - start
        words = [f"{k}={v}" for k, v in (environment or {}).items() if k.startswith("ONECYCLE_")] + command
        said = text[-20000:] + errors[-20000:]
        self.disk.append("log.txt", f"\n$ {' '.join(words)}\n{said}[{code}, {seconds:.1f} s]\n")
        return text, code, trouble_of(code, seconds, stopped, text if merge else errors)

    def own(self, name, *words, limit=60.0, merge=False, environment=None):
        return self.run(self.program(name), *words, limit=limit, merge=merge,
                        environment={**self.carried(), **(environment or {})})

    def onecycle(self, *words, limit=60.0, environment=None):
        text, code, trouble = self.own("onecycle", *words, "--json", limit=limit, environment=environment)
        if code:
            raise Failure(trouble)
        return json.loads(text)

    def profile(self, case, precision, *words, steps=None, limit=60.0, environment=None):
        """A step's profile, on the way round what the smoke test found wrong."""
        size, batch = self.case(case).split(":")
        options, variables = self.detour
        return self.onecycle(
            "profile", "--device", self.device, "--arch", self.arch, "--size", size, "--batch-size", batch,
            "--precision", precision, *(("--freeze", "body", "--steps", 1) if self.small else
                                        ("--classes", 1000, "--steps", steps or 50)), *options, *words,
            limit=limit, environment={**variables, **(environment or {})})

    def case(self, case):
        return "32:2" if self.small else case


def trouble_of(code, seconds, stopped, said):
    """In one line what went wrong with a program; empty if nothing did."""
    if not code:
        return ""
    lines = said.strip().splitlines()
    last = lines[-1][:300] if lines else ""
    if code > 0 and not stopped:
        return last or f"exit code {code}"
    how = f"stopped after {seconds:.0f} s" if stopped else f"died of {signal.Signals(-code).name}"
    return how + (f"; last words: {last}" if last else "")


def json_lines(text):
    """The JSON objects among the lines of a program's output, which may have broken off."""
    found = []
    for line in re.findall(r"^\{.*\}$", text, re.MULTILINE):
        try:
            found.append(json.loads(line))
        except ValueError:
            pass
    return found
