"""Every message of the program that gives advice: it is provoked, then its advice is followed, literally.

    python3 tests/cli/test_advice.py build/onecycle [--slow] [--list] [--times] [--only TEXT]

Without --slow, advice to train is not followed, only provoked.

The places that give advice are read from the sources (advice_sources.py): one that no row of advice_table*.py shows is a
failure, as is an excuse (advice_excused.py) for a place that is not there.
"""
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import advice_sources  # noqa: E402
import advice_table  # noqa: E402
from advice_excused import EXCUSED  # noqa: E402


class Program:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def __call__(self, command, interrupt_when=None):
        """(exit code, all that was printed) of the command line behind the program's name. Assignments in front are
        the environment; `< FILE` is stdin."""
        words = shlex.split(command)
        environment = dict(os.environ)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, value = words.pop(0).split("=", 1)
            environment[name] = value
        stdin = subprocess.DEVNULL
        if "<" in words:
            stdin = open(self.folder / words[words.index("<") + 1], "rb")
            del words[words.index("<"):]
        process = subprocess.Popen([self.binary, *words], cwd=self.folder, env=environment, stdin=stdin, text=True,
                                   errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if interrupt_when:
            end = time.monotonic() + 60
            while not list(self.folder.glob(interrupt_when)) and time.monotonic() < end and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=300)
        return process.returncode, printed


class Coverage:
    """Which texts of which places have been seen in what the program printed."""

    def __init__(self, places):
        self.places = places
        self.seen = {place: set() for place in places}
        self.patterns = {place: ([[self.compiled(t) for t in part] for part in place.parts],
                                 [(t, self.compiled(t)) for t in place.fix]) for place in places}

    @staticmethod
    def compiled(text):
        return re.compile(advice_sources.pattern_of(text), re.S | re.I)

    def note(self, printed):
        """The number of places that can have said so."""
        count = 0
        for place, (parts, fixes) in self.patterns.items():
            if all(any(p.search(printed) for p in part) for part in parts):
                found = {text for text, pattern in fixes if pattern.search(printed)}
                count += bool(found)
                self.seen[place] |= found
        return count

    def missing(self, excused):
        for place in self.places:
            rest = [t for t in place.fix if t not in self.seen[place] and not excused(place, t)]
            if rest:
                yield f"{place.file}:{place.line}: no row shows: {' | '.join(rest)}   {place.parts}"


def words_to_type(printed):
    """The command lines in what was printed."""
    return [line.strip()[len("onecycle "):].split("   #")[0] for line in printed.splitlines()
            if re.match(r"  onecycle \w", line)]


class Failures(list):
    def expect(self, ok, row, why, printed=""):
        if not ok:
            self.append("\n    ".join([row, why, *printed.strip().splitlines()[-4:]]))


def fix_in(printed):
    lines = [line for line in printed.splitlines() if "; fix: " in line]
    return lines[-1].split("; fix: ", 1)[1] if lines else printed


def not_said(advice, provoked, said):
    """The words of the advised command that stand neither in the provoking one nor in the advice."""
    return [w for w in shlex.split(advice) if w not in shlex.split(provoked) and w.strip(".") not in said]


def trains(command):
    return command.startswith(("train", "finetune", "find")) and "--from-csv" not in command


def run_row(row, program, coverage, failures, slow):
    if row.before:
        row.before(program.folder)
    code, printed = program(row.provoke, row.interrupt_when)
    failures.expect(code == row.code, row.provoke, f"ended with {code}, not {row.code}", printed)
    failures.expect("-nan" not in printed, row.provoke, "-nan was printed", printed)
    failures.expect(re.search(row.says, printed, re.S), row.provoke, f"does not say: {row.says}", printed)
    if code and not row.interrupt_when:
        failures.expect(printed.count("error: ") == 1, row.provoke, "not one error", printed)
    failures.expect(coverage.note(printed) > 0, row.provoke, "no place in the sources says so", printed)
    commands = words_to_type(printed) if row.typed else row.advice
    failures.expect(commands or row.after, row.provoke, "there is nothing to follow", printed)
    if row.after:
        row.after(program.folder)
    for command in commands:
        rest = [] if row.typed or row.free or row.after else not_said(command, row.provoke, fix_in(printed))
        failures.expect(not rest, row.provoke, f"the advice does not say: {' '.join(rest)}", printed)
        if trains(command) and not slow:
            continue
        code, followed = program(command)
        failures.expect(code == row.then, row.provoke, f"its advice `{command}` ended with {code}", followed)
        failures.expect(row.then or "error: " not in followed, row.provoke, f"`{command}` is refused", followed)
        if row.gone:
            failures.expect(not re.search(row.gone, followed), row.provoke, f"`{command}` changes nothing", followed)


def other_words():
    """The tables of src/cli/other_words.cpp: (options, verbs), each of (their word, ours)."""
    source = (ROOT / "src/cli/other_words.cpp").read_text()
    pairs = [re.findall(r'\{"([^"]*)",\s*"([^"]*)"\}', table) for table in source.split("constexpr OtherWord ")[1:]]
    return pairs


def check_other_words(program, failures):
    """Each word of another program is answered, and the answer is taken by the verb that gave it."""
    options, verbs = other_words()
    failures.expect(len(options) > 100 and len(verbs) > 20, "other_words.cpp", "its tables cannot be read")
    for theirs, ours in options:
        for verb, arguments in advice_table.VERBS_WITH_OPTIONS:
            value = advice_table.VALUES.get(ours.split()[0], "runs/new")
            dashes = "-" if len(theirs) == 1 else "--"
            command = f"{verb} {arguments} {dashes}{theirs} {value}"
            code, printed = program(command)
            meant = ours.replace("VALUE", value)
            if meant.startswith("leave it out"):
                failures.expect(meant in printed and code == 2, command, f"does not say: {meant}", printed)
                break
            if f"did you mean {meant}?" not in printed:
                continue
            if ours.startswith("-"):
                code, printed = program(f"{verb} {arguments} {meant}")
                failures.expect(code in (0, 7) or "unknown option" not in printed and "bad option" not in printed,
                                command, f"{meant} is refused", printed)
            break
        else:
            failures.expect(False, f"--{theirs}", f"no verb answers with {ours}")
    for theirs, ours in verbs:
        code, printed = program(f"{theirs} photos")
        answered = code == 2 and f"did you mean {ours}?" in printed
        failures.expect(answered, theirs, f"is not answered with {ours}", printed)
        code, printed = program(f"{ours.split()[0]} --help")
        failures.expect(code == 0, theirs, f"{ours} is no verb", printed)


def main(arguments):
    binary = str(Path(arguments[0]).resolve())
    places = [p for p in advice_sources.all_advice(ROOT / "src") if p.file != "cli/other_words.cpp"]
    if "--list" in arguments:
        print("\n".join(str(place) for place in places))
        return 0
    slow = "--slow" in arguments
    only = arguments[arguments.index("--only") + 1] if "--only" in arguments else ""
    coverage, failures = Coverage(places), Failures()
    with tempfile.TemporaryDirectory() as name:
        program = Program(binary, Path(name))
        start = time.monotonic()
        advice_table.prepare(program)
        if not only:
            check_other_words(program, failures)
        rows = 0
        for row in advice_table.rows(program):
            if only and only not in row.provoke:
                continue
            rows += 1
            began = time.monotonic()
            run_row(row, program, coverage, failures, slow)
            if "--times" in arguments:
                print(f"{time.monotonic() - began:6.2f}  {row.provoke}")
        seconds = time.monotonic() - start
    unused = set(EXCUSED)

    def excused(place, text):
        for excuse in EXCUSED:
            if place.file.startswith(excuse[0]) and excuse[1] in text:
                unused.discard(excuse)
                return True
        return False

    if not only:
        failures += coverage.missing(excused)
        failures += [f"excused, but no such place is left without a row: {excuse}" for excuse in unused]
    for failure in failures:
        print(failure)
    print(f"{rows} rows, {len(places)} places, {len(failures)} failures, {seconds:.1f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
