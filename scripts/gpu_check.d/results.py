"""What the stages found: results.json and report.md, written anew, whole, after every stage."""
import json
import pathlib
import shutil
import time

RUNNING, NO_TIME, DONE, FAILED, SKIPPED = "running", "no time", "ok", "failed", "skipped"

PLANS = "cache/onecycle/cudnn-plans.json"


class Skip(Exception):
    """A stage that cannot run here, and why."""


class Failure(Exception):
    """A stage that ran and found something wrong, and what else it found."""

    def __init__(self, why, data=None):
        super().__init__(why)
        self.data = data or {}


class Stop(Failure):
    """Such a stage when the ones after it would be worth nothing."""


class Unfinished(Exception):
    """A stage that has more to do when it is run again, and what it has found."""

    def __init__(self, why, data):
        super().__init__(why)
        self.data = data


class Disk:
    """Writes files whole or not at all. A write that fails is remembered, and ends nothing."""

    def __init__(self, folder, note=print):
        self.folder, self.note, self.trouble = pathlib.Path(folder), note, {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.failed(self.folder, error)

    def failed(self, path, error):
        if path.name not in self.trouble:
            self.note(f"{path.name}: not written: {error.strerror}; what was found is kept in memory")
        self.trouble[path.name] = error.strerror

    def write(self, name, text):
        path = self.folder / name
        whole = path.with_name(path.name + ".new")
        try:
            whole.write_text(text)
            whole.replace(path)
            self.trouble.pop(path.name, None)
        except OSError as error:
            self.failed(path, error)
            try:
                whole.unlink()
            except OSError:
                pass

    def append(self, name, text):
        try:
            with open(self.folder / name, "a") as file:
                file.write(text)
        except OSError as error:
            self.failed(self.folder / name, error)


class Results:
    """A stage's state, seconds, findings; and the calls that found them."""

    def __init__(self, disk, pages=lambda results: {}, earlier=None, device="cuda", commit=""):
        """`pages`: what is written beside results.json, {name: text} of these results."""
        self.disk, self.pages = disk, pages
        self.file = disk.folder / "results.json"
        self.warnings = []
        if earlier and not self.file.exists():
            self.take(pathlib.Path(earlier))
        kept = self.read(self.file if self.file.exists() else pathlib.Path(earlier) / "results.json") \
            if earlier or self.file.exists() else {}
        self.calls, self.stages = kept.get("calls", []), kept.get("stages", {})
        self.searches = kept.get("searches", {})
        self.device, self.commit = device, commit
        for stage in self.stages.values():
            if stage["state"] == RUNNING:
                stage.update(state=FAILED, why="the call ended in the middle of it")

    def take(self, earlier):
        """The plans that an earlier call searched for and its log, where there is room."""
        for name in ("log.txt", PLANS):
            if (earlier / name).exists():
                try:
                    (self.disk.folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(earlier / name, self.disk.folder / name)
                except OSError as error:
                    self.disk.failed(self.disk.folder / name, error)

    def read(self, file):
        try:
            return json.loads(file.read_text())
        except (OSError, ValueError) as error:
            self.warnings.append(f"no earlier results in {file.parent.name}: {error}; everything is run")
            return {}

    def begin_call(self, command):
        self.calls.append({"command": command, "date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())})

    def state(self, name):
        return self.stages.get(name, {}).get("state")

    def data(self, name):
        return self.stages.get(name, {}).get("data") or {}

    def put(self, name, state, seconds=0.0, why="", data=None):
        self.stages[name] = {"state": state, "seconds": round(seconds, 2), "why": why, "data": data}
        self.save()

    def begin(self, name):
        """What an earlier try found stays until this one has ended."""
        before = self.stages.get(name, {})
        self.put(name, RUNNING, data=before.get("data"))

    def save(self):
        self.look_at_plans()
        whole = {"calls": self.calls, "commit": self.commit, "searches": self.searches, "stages": self.stages}
        self.disk.write("results.json", json.dumps(whole, indent=1) + "\n")
        for name, text in self.pages(self).items():
            self.disk.write(name, text)

    def look_at_plans(self):
        """Which plans the searches so far have timed, by convolution."""
        try:
            plans = json.loads((self.disk.folder / PLANS).read_text())
            self.searches.update((key, search) for key, search in plans["searches"].items() if search)
        except (OSError, ValueError, KeyError):
            pass
