"""That what `onecycle profile --predict --ranks` says of several ranks is what an event-by-event simulation finds.

    test_simulate_ranks.py build/onecycle
"""
import json
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import simulate_ranks  # noqa: E402

PROGRAM = sys.argv.pop(1)


def profile(*more):
    command = [PROGRAM, "profile", "--predict", "h200", "--classes", "1000", "--json", *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


class Simulation(unittest.TestCase):
    def agree(self, step, wire, *options):
        for row in simulate_ranks.compare(profile(*options)):
            self.assertLess(abs(row["step_difference"]), step, row)
            self.assertLess(abs(row["wire_difference"]), wire, row)

    # Nearly all is hidden: what is left to disagree about is the end of the backward pass.
    def test_agrees_to_2_percent_where_links_are_fast(self):
        self.agree(0.02, 0.1, "--arch", "resnet50", "--batch-size", "256", "--ranks", "1,2,8,64,1024")

    # Most of the step is the network: the pipelines of trees and the order of buckets count.
    def test_agrees_to_5_percent_where_the_network_is_the_bound(self):
        self.agree(0.05, 0.1, "--arch", "resnet50", "--batch-size", "32", "--ranks", "16,64,1024", "--link", "450,6.25")
        self.agree(0.05, 0.1, "--arch", "resnet18", "--batch-size", "64", "--ranks", "4,8", "--link", "12,12",
                   "--precision", "fp32", "--limits", "4300,60")

    def test_a_single_rank_takes_the_time_of_the_profile(self):
        p = profile("--arch", "resnet18", "--batch-size", "64", "--ranks", "1")
        self.assertAlmostEqual(simulate_ranks.simulate(p, 1)["step_seconds"], p["limit_seconds"], 9)

    # The textbook's bounds, which no correct simulation can undercut.
    def test_rings_take_what_the_textbook_says_and_trees_no_less_than_the_bytes(self):
        for n in (2, 3, 8, 16):
            expected = 2 * (n - 1) * (1e6 / n / 1e9 + 1e-6)
            self.assertAlmostEqual(simulate_ranks.ring_seconds(n, 1e6, 1e9, 1e-6) / expected, 1, 9)
            self.assertGreater(simulate_ranks.tree_seconds(n, 1e6, 1e9, 1e-6), 1e6 / 1e9)

    def test_the_committed_comparison_is_of_this_form_and_agrees(self):
        for result in json.loads((ROOT / "bench/results/ranks-h200.json").read_text()):
            for row in result["rows"]:
                self.assertLess(abs(row["step_difference"]), 0.05, row)


if __name__ == "__main__":
    unittest.main()
