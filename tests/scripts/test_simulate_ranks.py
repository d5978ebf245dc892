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

    # Most of the step is the network: the order of messages and of buckets counts.
    def test_agrees_to_5_percent_where_the_network_is_the_bound(self):
        self.agree(0.05, 0.1, "--arch", "resnet50", "--batch-size", "32", "--ranks", "16,64,1024", "--link", "450,6.25")
        self.agree(0.05, 0.1, "--arch", "resnet18", "--batch-size", "64", "--ranks", "4,8", "--link", "12,12",
                   "--precision", "fp32", "--limits", "4300,60")

    def test_a_single_rank_takes_the_time_of_the_profile(self):
        p = profile("--arch", "resnet18", "--batch-size", "64", "--ranks", "1")
        found = simulate_ranks.simulate(p, p["data_parallel"]["forecasts"][0])
        self.assertAlmostEqual(found["step_seconds"], p["limit_seconds"], 9)
        self.assertEqual(found["transfers"], [])

    def test_an_exchange_takes_a_share_and_a_message_for_each_other_rank(self):
        for n in (2, 3, 8, 16):
            seconds = simulate_ranks.exchange_seconds(n, 16, 1e5, 1e9, 1e8, 3e-6, 9e-6, 1e-6)
            self.assertAlmostEqual(seconds / ((n - 1) * (1e-4 + 1e-6) + 3e-6), 1, 9)
        # Where each node is one rank all goes through the port that leads out.
        seconds = simulate_ranks.exchange_seconds(16, 1, 1e5, 1e9, 1e8, 3e-6, 9e-6, 1e-6)
        self.assertAlmostEqual(seconds / (15 * (1e-3 + 1e-6) + 9e-6), 1, 9)
        # And no order of messages is faster than the bytes that must leave the node.
        self.assertGreater(simulate_ranks.exchange_seconds(64, 8, 1e5, 1e9, 1e8, 0, 0, 0), 0.999 * 56e-3)

    def buckets(self, *options):
        """The links of a job without hops and messages, and of its first bucket bytes and exchanges."""
        found = profile("--arch", "resnet18", *options)["data_parallel"]
        links = found["links"] | {"message_seconds": 0, "inside_hop_seconds": 0, "between_hop_seconds": 0}
        step = next(s for s in found["forecasts"][0]["steps"] if s["name"] == "bucket 0")
        return links, step["exchanged_bytes"], step["exchanges"]

    def test_two_levels_send_an_eighth_between_nodes(self):
        links, size, exchanges = self.buckets("--ranks", "64", "--link", "1e9,50")
        flat = {"ranks": 64, "apart": 1, "bytes": size / 64}
        seconds = sum(simulate_ranks.link_seconds(links, e) for e in exchanges)
        self.assertAlmostEqual(2 * simulate_ranks.link_seconds(links, flat) / seconds, 56 / 7, 2)
        self.assertEqual([(e["ranks"], e["apart"]) for e in exchanges], [(8, 1), (8, 8), (8, 8), (8, 1)])

    def test_nodes_that_hold_no_whole_groups_exchange_in_one_level(self):
        for ranks, node, levels in ((8, 8, 1), (64, 4, 1), (24, 12, 1), (16, 16, 2), (48, 16, 2), (12, 12, 1)):
            with self.subTest(ranks=ranks, node=node):
                links, size, exchanges = self.buckets("--ranks", str(ranks), "--ranks-per-node", str(node))
                self.assertEqual(len(exchanges), 2 * levels)
                self.assertAlmostEqual(sum(e["ranks"] * e["bytes"] for e in exchanges[levels:]),
                                       size * (1 if levels == 1 else 1 + 1 / 8), delta=size / 1000)

    def test_the_committed_comparison_is_of_this_form_and_agrees(self):
        for result in json.loads((ROOT / "bench/results/ranks-h200.json").read_text()):
            for row in result["rows"]:
                self.assertLess(abs(row["step_difference"]), 0.05, row)


if __name__ == "__main__":
    unittest.main()
