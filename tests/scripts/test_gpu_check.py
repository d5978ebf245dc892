"""Promises of scripts/gpu_check that need no GPU and no program: how it resumes, keeps to its time, and what its page says.

    python3 tests/scripts/test_gpu_check.py
"""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import shutil
import stat
import tarfile
import tempfile
import unittest
import unittest.mock

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "gpu_check"
loader = importlib.machinery.SourceFileLoader("gpu_check", str(SCRIPT))
gpu_check = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
loader.exec_module(gpu_check)


class FakeMachine:
    def __init__(self, seconds=1000.0):
        self.seconds = seconds

    def left(self):
        return self.seconds


class GpuCheck(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.folder.name)
        self.ran = []

    def tearDown(self):
        self.folder.cleanup()

    def stage(self, name, outcome=None, least=1):
        def run(m):
            self.ran.append(name)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        return name, least, run

    def check(self, *stages, seconds=1000.0, out=None, earlier=None):
        results = gpu_check.Results(out or self.out, earlier)
        gpu_check.run_stages(FakeMachine(seconds), results, stages, note=lambda text: None)
        return {name: r["state"] for name, r in gpu_check.Results(out or self.out).stages.items()}

    def test_what_is_known_is_not_measured_again_and_what_failed_is(self):
        states = self.check(self.stage("a", {"x": 1}), self.stage("b", gpu_check.Failure("wrong", {"y": 2})),
                            self.stage("c", gpu_check.Skip("not here")))
        self.assertEqual(states, {"a": "ok", "b": "failed", "c": "skipped"})
        self.ran.clear()
        states = self.check(self.stage("a"), self.stage("b", {"y": 3}), self.stage("c"))
        self.assertEqual(self.ran, ["b"])
        self.assertEqual(states["b"], "ok")

    def test_a_stage_that_breaks_costs_no_other(self):
        states = self.check(self.stage("a", KeyError("gone")), self.stage("b", {}))
        self.assertEqual(states, {"a": "failed", "b": "ok"})

    def test_a_stage_is_not_begun_without_its_time_and_comes_next_time(self):
        self.assertEqual(self.check(self.stage("long", {}, least=60), seconds=59), {"long": "no time"})
        self.assertEqual(self.ran, [])
        self.assertEqual(self.check(self.stage("long", {}, least=60)), {"long": "ok"})

    def test_a_stage_with_more_to_do_keeps_what_it_found_and_comes_next_time(self):
        self.check(self.stage("a", gpu_check.Unfinished("half", {"x": 1})))
        self.assertEqual(self.check(self.stage("a", least=60), seconds=5), {"a": "no time"})
        self.assertEqual(gpu_check.Results(self.out).stages["a"]["data"], {"x": 1})
        self.assertEqual(self.check(self.stage("a", {"x": 2})), {"a": "ok"})

    def test_results_of_another_folder_are_gone_on_with(self):
        self.check(self.stage("a", {}))
        with tempfile.TemporaryDirectory() as other:
            self.assertEqual(self.check(self.stage("a"), self.stage("b", {}), out=pathlib.Path(other), earlier=self.out),
                             {"a": "ok", "b": "ok"})
        self.assertEqual(self.ran, ["a", "b"])

    def test_the_page_says_what_did_not_fit_and_compares_equal_cases_only(self):
        whole = {"images_per_second": 1500.0, "calls_a_launch": 1, "blocking_calls_a_launch": 0}
        step = {"whole_step": whole, "limits": {"bytes_per_second": 4e12, "flops_per_second": 8e14, "source": "test",
                                                "of_this_device": True},
                "steps": [{"operation": "batch_norm", "shape": "64x56x56", "implementation": "own", "seconds": 1e-4,
                           "bytes": 3e8, "flops": 1e6, "limit_seconds": 8e-5, "share": 0.8}]}
        torch = {"results": [{"name": "step 224:256 bf16 eager", "images_per_second": 800.0},
                             {"name": "step 224:256 bf16 graph", "images_per_second": 1000.0},
                             {"name": "step 224:64 bf16 eager", "images_per_second": 9999.0},
                             {"name": "step 128:64 bf16 compile", "error": "it broke"}],
                 "left_out": ["no time for 3 of 8"]}
        self.check(self.stage("step 224:256 bf16", step),
                   self.stage("PyTorch steps", gpu_check.Unfinished("no time for 3 of 8", torch)))
        self.check(self.stage("racecheck", {}, least=60), seconds=5)
        page = gpu_check.Page(gpu_check.Results(self.out).stages, "cuda").text()
        self.assertIn("| 224:256 bf16 | 1500 | 800 | 1000 (graph) | 1.50 | 1 | 0 |", page)
        self.assertIn("it broke", page)
        self.assertIn("- racecheck: 5 s were left, it needs 60", page)
        self.assertIn("no time for 3 of 8", page)
        self.assertIn("| batch_norm | 1 | 100.0 | 300.0 | 3000 | 80 % |", page)
        self.assertNotIn("emulator", page)
        self.assertIn("No number here says anything about a GPU",
                      gpu_check.Page(gpu_check.Results(self.out).stages, "emulated").text())

    def test_the_page_says_what_the_search_for_plans_was_worth(self):
        kept = self.out / "cache" / "onecycle" / "cudnn-plans.json"
        kept.parent.mkdir(parents=True)
        search = [{"plan": "engine 1:", "milliseconds": 0.03}, {"plan": "engine 5:", "milliseconds": 0.02}]
        kept.write_text(json.dumps({"plans": {"conv a": "engine 5:"}, "searches": {"conv a": search}}))
        found = gpu_check.plans_stage(self.machine())
        self.check(self.stage("plans that were timed", found))
        page = gpu_check.Page(gpu_check.Results(self.out).stages, "cuda").text()
        self.assertIn("| conv a | 2 | 30.0 | 20.0 | 1.50 | engine 5: |", page)

    def test_a_step_that_cannot_be_captured_is_tried_piece_by_piece(self):
        self.script("onecycle", 'case "$*" in *--no-graph*) echo \'{"whole_step": {}}\';; *) echo "error: capture" >&2; exit 7;; esac')
        with self.assertRaises(gpu_check.Failure) as failure:
            gpu_check.step_stage("224:256", "bf16")(self.machine())
        self.assertEqual(str(failure.exception), "error: capture; with --no-graph it runs")
        self.assertEqual(failure.exception.data, {"without_graph": {"whole_step": {}}})
        self.script("onecycle", 'echo "error: $*" >&2; exit 7')
        with self.assertRaises(gpu_check.Failure) as failure:
            gpu_check.step_stage("224:256", "bf16")(self.machine())
        self.assertIn("; with --no-graph: error: ", str(failure.exception))

    def test_results_are_replaced_as_a_whole(self):
        self.check(self.stage("a", {}))
        json.loads((self.out / "results.json").read_text())
        self.assertEqual([p.name for p in self.out.iterdir()], ["results.json"])

    def machine(self, *words):
        return gpu_check.Machine(gpu_check.options_of(["--out", str(self.out), "--build", str(self.out), "--python", os.devnull,
                                                       "--scratch", str(self.out / "scratch"), *words]))

    def script(self, name, *lines):
        program = self.out / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def test_a_sanitizer_is_content_only_when_cases_ran_and_nothing_was_found(self):
        for name in gpu_check.SANITIZED:
            self.script(f"tests/cuda/{name}", "exit 0")
        for said, good in (("RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n[  PASSED  ] 2 tests.", True),
                           ("ERROR SUMMARY: 0 errors\n[  PASSED  ] 2 tests.", True),
                           ("ERROR SUMMARY: 0 errors\n[  PASSED  ] 0 tests.", False),
                           ("ERROR SUMMARY: 3 errors\n[  PASSED  ] 2 tests.", False),
                           ("Device not supported", False)):
            self.script("bin/compute-sanitizer", f"printf '{said}\n'")
            with unittest.mock.patch.dict(os.environ, PATH=f"{self.out / 'bin'}:{os.environ['PATH']}"):
                stage = gpu_check.sanitizer_stage("racecheck")
                if good:
                    self.assertEqual(len(stage(self.machine())), len(gpu_check.SANITIZED))
                else:
                    self.assertRaises(gpu_check.Failure, stage, self.machine())

    def test_the_page_shows_the_ladder_and_a_wrong_rung_fails(self):
        for place in ("bench/ladder/bench_ladder", "bench_ladder"):  # where it is built, and in an archive's bin/
            self.script(place, "echo \"on $2\"", "echo '| 5 shipped | 25.0 |'")
            data = gpu_check.ladder_stage(self.machine("--device", "emulated"))
            page = gpu_check.Page({"ladder": {"state": "ok", "seconds": 1, "why": "", "data": data}}, "cuda").text()
            self.assertIn("## The ladder of kernels\n\non emulated\n| 5 shipped | 25.0 |\n", page)
            self.script(place, "echo 'error: a rung is wrong: 3 tiles' >&2", "exit 1")
            with self.assertRaises(gpu_check.Failure) as failure:
                gpu_check.ladder_stage(self.machine())
            self.assertIn("3 tiles", str(failure.exception))

    def test_an_archive_holds_programs_their_libraries_and_the_script(self):
        shutil.copy2(shutil.which("ls"), self.out / "onecycle")
        archive = self.out / "carried.tar.xz"
        with contextlib.redirect_stdout(io.StringIO()) as said:
            gpu_check.pack(self.machine(), archive)
        with tarfile.open(archive) as tar:
            names = tar.getnames()
        for name in ("bin/onecycle", "scripts/gpu_check", "scripts/gpu_report.py", "bench/pytorch_gpu.py",
                     "tests/reference/data/layers.json"):
            self.assertIn("gpu-check/" + name, names)
        self.assertFalse([n for n in names if n.startswith("gpu-check/lib/libc.")], "the C library stays behind")
        self.assertIn("left out: test_cuda_loss is not built", said.getvalue())

    def test_a_test_program_that_fails_is_named(self):
        self.script("tests/cuda/test_cuda_loss", "echo '[  PASSED  ] 3 tests.'", "echo '[  FAILED  ] Loss.counts (1 ms)'", "exit 1")
        m = self.machine()
        with self.assertRaises(gpu_check.Failure) as failure:
            gpu_check.run_tests(m, {"test_cuda_loss": "*", "test_cuda_pool": "*"}, 10)
        self.assertIn("Loss.counts", str(failure.exception))
        self.script("tests/cuda/test_cuda_loss", "echo '[  PASSED  ] 0 tests.'")
        with self.assertRaises(gpu_check.Failure, msg="a filter that chooses nothing"):
            gpu_check.run_tests(m, {"test_cuda_loss": "*"}, 10)
        self.assertEqual(failure.exception.data["test_cuda_pool"], "test_cuda_pool is not built")


if __name__ == "__main__":
    unittest.main()
