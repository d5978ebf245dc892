"""Promises of bench/write_tables.py, on a copy of the pages and the results.

    python3 tests/scripts/test_write_tables.py
"""
import contextlib
import io
import json
import math
import pathlib
import shutil
import sys
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import markdown_table  # noqa: E402
import write_tables  # noqa: E402


class WriteTables(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = pathlib.Path(folder.name)
        (self.tree / "docs").mkdir()
        for page in write_tables.PAGES:
            shutil.copyfile(ROOT / page, self.tree / page)
        shutil.copytree(ROOT / "bench/results", self.tree / "results", ignore=shutil.ignore_patterns("*.csv", "*.md"))
        for module, name, place in ((write_tables, "ROOT", self.tree), (markdown_table, "HERE", str(self.tree))):
            patched = unittest.mock.patch.object(module, name, place)
            patched.start()
            self.addCleanup(patched.stop)
        self.page = self.tree / "docs/results.md"
        self.call()

    def call(self, *words):
        """The exit code; what was printed is kept."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = write_tables.main(words)
            except SystemExit as error:
                code = 1
                print(error, file=err)
        self.out, self.err = out.getvalue(), err.getvalue()
        return code

    def replace(self, old, new):
        text = self.page.read_text()
        self.assertIn(old, text)
        self.page.write_text(text.replace(old, new, 1))

    def assertFails(self, *pieces):
        self.assertEqual(self.call("--check"), 1)
        error = self.err.splitlines()
        self.assertEqual(len(error), 1, error)
        self.assertRegex(error[0], "^error: .+: .+: .+; fix: .+")
        for piece in pieces:
            self.assertIn(piece, self.out + error[0])

    def line(self, *cells):
        """The rest of the page's first row that begins with these cells."""
        begin = "| " + " | ".join(cells) + " | "
        return next(line for line in self.page.read_text().splitlines() if line.startswith(begin))[len(begin):]

    def test_figures_are_means_and_sample_deviations_of_what_was_measured(self):
        cells = json.loads((ROOT / "bench/results/accuracy.json").read_text())
        runs = [cells[f"flowers seed {seed}"]["onecycle"] for seed in range(3)]
        accuracy = [100 * run["accuracy"] for run in runs]
        mean = sum(accuracy) / 3
        deviation = math.sqrt(sum((a - mean) ** 2 for a in accuracy) / 2)
        loss = sum(run["valid_loss"] for run in runs) / 3
        rates = ", ".join("%.2g" % run["max_lr"] for run in runs)
        self.assertEqual(self.line("flowers", "onecycle", "3"),
                         f"{rates} | {mean:.1f} ± {deviation:.1f} % | {loss:.3f} |")

    def test_a_figure_changed_on_the_page_is_found_and_put_right(self):
        before = self.page.read_bytes()
        self.replace("| flowers | onecycle | 3 | ", "| flowers | onecycle | 9 | ")
        self.assertFails("docs/results.md: accuracy", "run bench/write_tables.py")
        self.assertNotEqual(self.page.read_bytes(), before, "a check changes nothing")
        self.assertEqual(self.call(), 0)
        self.assertEqual(self.page.read_bytes(), before)
        self.assertEqual(self.call("--check"), 0)

    def test_a_result_that_changed_is_found_and_written(self):
        path = self.tree / "results/speed.json"
        speed = json.loads(path.read_text())
        speed["cases"][0]["onecycle"] = 1234.56
        path.write_text(json.dumps(speed))
        self.assertFails("docs/results.md: speed", "README.md: front")
        self.assertEqual(self.call(), 0)
        self.assertIn("| 1234.6 |", self.page.read_text())
        self.assertIn("**1234.6 images/s**", (self.tree / "README.md").read_text())

    def test_a_training_that_diverged_has_no_loss(self):
        path = self.tree / "results/accuracy.json"
        cells = json.loads(path.read_text())
        cells["flowers seed 0"]["lowest, lagging"].update(accuracy=0.0, valid_loss=None)
        path.write_text(json.dumps(cells))
        self.assertEqual(self.call(), 0)
        self.assertTrue(self.line("flowers", "lowest, lagging", "1").endswith("| 0.0 % | - |"))

    def test_sentences_around_a_table_stay(self):
        self.replace("# Measured results", "# Measured with care\n\n| a table | of no script |")
        self.assertEqual(self.call("--check"), 0)

    def test_a_table_that_no_script_makes_is_named(self):
        self.page.write_text(self.page.read_text() + "\n<!-- table: guesses -->\n| 1 |\n<!-- end -->\n")
        self.assertFails("unknown table", "docs/results.md: guesses")

    def test_a_table_that_no_page_shows_is_named(self):
        text = self.page.read_text()
        begin = text.index("<!-- table: speed -->")
        end = text.index("<!-- end -->", begin) + len("<!-- end -->")
        self.page.write_text(text[:begin] + text[end:])
        self.assertFails("table without a place", "speed")

    def test_markers_that_do_not_match_are_found(self):
        before = self.page.read_text()
        for old, new in (("<!-- end -->\n", ""), ("<!-- table: accuracy -->\n", ""), ("<!-- end -->", " <!-- end -->"),
                         ("<!-- table: accuracy -->", "<!-- table: -->")):
            self.page.write_text(before)
            self.replace(old, new)
            self.assertFails("markers do not match", "docs/results.md")


if __name__ == "__main__":
    unittest.main()
