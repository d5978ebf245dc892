"""docs/tour.md and the two pages of reading order say what the tree has, and what the program takes.

  test_tour.py [PROGRAM]     without PROGRAM no command is run
"""
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "scripts"))
from exercise_parts import ANSWERS, PARTS  # noqa: E402
from seeded_bugs_list import BUGS  # noqa: E402

PROGRAM = None
PAGE = (TREE / "docs/tour.md").read_text()
CHEAP = ("plan", "demo-data", "doctor")  # run as they stand; of the others the options are looked up


def blocks(text):
    """Of each block of code: the words behind its fence, and its lines. A line that ends with \\ goes on."""
    found = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", text.replace("\\\n", " "), re.MULTILINE)
    return [(words, lines.splitlines()) for words, lines in found]


def stations():
    parts = re.split(r"^## (?=\d+\. )", PAGE, flags=re.MULTILINE)[1:]
    return [re.split(r"^## ", part, flags=re.MULTILINE)[0] for part in parts]


def stands_in(lines, text):
    """Whether the lines follow each other in the text, indentation aside."""
    wanted, there = [line.strip() for line in lines], [line.strip() for line in text.splitlines()]
    return any(there[i : i + len(wanted)] == wanted for i in range(len(there)))


def commands():
    """The words of every `onecycle VERB ...` that the page asks to type."""
    for words, lines in blocks(PAGE):
        for line in lines if words == "sh" else ():
            if line.startswith("onecycle "):
                yield shlex.split(line, comments=True)[1:]


def numbers_of(row):
    return int(row[0].replace(",", "")), int(row[1])


class Tour(unittest.TestCase):
    def test_every_quotation_stands_in_its_file(self):
        quoted = [(words.split()[1], lines) for words, lines in blocks(PAGE) if words.startswith("cpp")]
        self.assertGreaterEqual(len(quoted), 11)
        for file, lines in quoted:
            with self.subTest(file=file):
                self.assertTrue(stands_in(lines, (TREE / file).read_text()), "\n".join(lines))

    def test_a_quotation_with_another_word_is_found_out(self):
        text = (TREE / "src/data/augment.cpp").read_text()
        self.assertTrue(stands_in(["    if (draw.flip) mirror(view);"], text))
        self.assertFalse(stands_in(["    if (draw.flip) turn(view);"], text))

    def test_there_are_eleven_stations_with_all_their_parts(self):
        self.assertEqual(len(stations()), 11)
        for number, part in enumerate(stations(), 1):
            for what in ("**Open**", "```cpp ", "**Type**", f"**Question {number}.**", "**Exercise "):
                self.assertIn(what, part, f"station {number}")
            self.assertIn(f"\n**{number}.** ", PAGE.split("\n## Answers")[1], f"no answer {number}")

    def test_functions_to_open_are_in_their_files(self):
        for number, part in enumerate(stations(), 1):
            text = " ".join(part.split("**Open**")[1].split("Files:")[0].split())
            opened = re.findall(r"`([\w/.]+\.\w+)`, `([\w:]+)`", text)
            self.assertTrue(opened, f"station {number}")
            for file, function in opened:
                name = function.split("::")[-1]
                self.assertRegex((TREE / file).read_text(), rf"\b{name}\b", f"station {number}: {file}")

    def test_line_counts_are_right_to_a_tenth(self):
        rows = re.findall(r"^\| \d+\. [^|]+ \| ([\d,]+) \| (\d+) \|$", PAGE, re.MULTILINE)
        self.assertEqual(len(rows), 11)
        lines_of_all, files_of_all = 0, 0
        for number, (row, part) in enumerate(zip(rows, stations()), 1):
            files = re.findall(r"`([\w/.]+\.\w+)`", part.split("Files:")[1].split("\n\n")[0])
            counted = sum(len((TREE / file).read_text().splitlines()) for file in files)
            lines, count = numbers_of(row)
            self.assertEqual(count, len(files), f"station {number}")
            self.assertLess(abs(lines - counted), counted / 10, f"station {number}: {counted} lines")
            lines_of_all, files_of_all = lines_of_all + counted, files_of_all + count
        lines, count = numbers_of(re.search(r"\| \*\*the path\*\* \| \*\*([\d,]+)\*\* \| \*\*(\d+)\*\* \|", PAGE).groups())
        self.assertEqual(count, files_of_all)
        self.assertLess(abs(lines - lines_of_all), lines_of_all / 10, f"all: {lines_of_all} lines")

    def test_exercises_are_listed_and_can_be_planted(self):
        script = [sys.executable, "-B", TREE / "scripts/exercise"]
        listed = subprocess.run(script, check=True, capture_output=True, text=True)
        numbers = {int(line.split()[0]) for line in listed.stdout.splitlines()}
        named = {int(number) for part in stations() for number in re.findall(r"\*\*Exercise (\d+)\*\*", part)}
        self.assertGreaterEqual(len(named), 11)
        self.assertLessEqual(named, numbers)
        edits = [edit for part in [*PARTS.values(), *ANSWERS.values()] for edit in part]
        for edit in edits + BUGS:
            if edit["old"]:
                self.assertEqual((TREE / edit["file"]).read_text().count(edit["old"]), 1, edit["name"])
            else:
                self.assertFalse((TREE / edit["file"]).exists(), edit["name"])

    def test_breakpoints_stop_at_the_lines_shown(self):
        shown = re.findall(r"break ([\w.]+):(\d+)\n(?:\(gdb\).*\n)*\2\t(.*)\n", PAGE)
        self.assertEqual(len(shown), 2)
        for name, number, line in shown:
            [file] = [path for path in TREE.glob(f"kernels/{name}")]
            self.assertEqual(file.read_text().splitlines()[int(number) - 1].strip(), line.strip())

    def test_pages_of_reading_order_name_what_is_there(self):
        for page, base in (("src/README.md", TREE), ("tests/README.md", TREE / "tests")):
            text = (TREE / page).read_text()
            files = re.findall(r"`([\w./]+\.(?:h|cpp|cu|py|md))`", text)
            self.assertGreater(len(files), 5, page)
            for file in files:
                self.assertTrue((base / file).exists() or (TREE / file).exists(), f"{page}: {file}")
        for file, names in re.findall(r"`([\w./]+)` *defines: ([^|]*)", (TREE / "src/README.md").read_text()):
            for name in re.findall(r"`(\w+)`", names):
                self.assertRegex((TREE / file).read_text(), rf"\b{name}\b", file)

    def test_every_command_is_one_that_the_program_takes(self):
        self.assertGreaterEqual(len(list(commands())), 10)
        if not PROGRAM:
            self.skipTest("no program")
        known = {}
        with tempfile.TemporaryDirectory() as folder:
            for words in commands():
                verb = words[0]
                if verb not in known:
                    shown = subprocess.run([PROGRAM, "help", verb], capture_output=True, text=True)
                    self.assertEqual(shown.returncode, 0, verb)
                    known[verb] = set(re.findall(r"--[\w-]+", shown.stdout))
                for word in words[1:]:
                    if word.startswith("--"):
                        self.assertIn(word.split("=")[0], known[verb], shlex.join(words))
                if verb in CHEAP:
                    done = subprocess.run([PROGRAM, *words], cwd=folder, capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_plan_prints_is_what_the_page_shows(self):
        if not PROGRAM:
            self.skipTest("no program")
        shown = re.findall(r"^```sh\nonecycle (plan .*)\n```\n```\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
        self.assertEqual(len(shown), 2)
        for command, lines in shown:
            done = subprocess.run([PROGRAM, *shlex.split(command)], check=True, capture_output=True, text=True)
            for line in lines.splitlines():
                if line != "...":
                    self.assertIn(line, done.stdout.splitlines(), command)


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        PROGRAM = sys.argv.pop(1)
    unittest.main()
