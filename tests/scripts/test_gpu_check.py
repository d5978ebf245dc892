"""Promises of scripts/gpu_check that need no GPU and no program of ours: how it goes on, keeps to its time, loses
nothing, and what it concludes. test_gpu_check_rehearsal.py runs all of it.

    python3 tests/scripts/test_gpu_check.py
"""
import errno
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "gpu_check"
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("gpu_check", str(SCRIPT))
gpu_check = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
loader.exec_module(gpu_check)
import checks  # noqa: E402  (gpu_check has told where they are)
import children  # noqa: E402
import decisions  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402
import steps  # noqa: E402
from results import Disk, Failure, Results, Skip, Stop, Unfinished  # noqa: E402


class FakeMachine:
    def __init__(self, seconds=1000.0):
        self.seconds, self.stopped = seconds, False

    def left(self):
        return self.seconds

    def begin_stage(self, most, known):
        self.known = known


class InAFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)
        self.ran = []

    def results(self, out=None, earlier=None, pages=lambda results: {}):
        return Results(Disk(out or self.out, note=lambda text: None), pages, earlier)

    def script(self, name, *lines):
        program = self.out / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def machine(self, *words, seconds=20):
        m = gpu_check.Machine(gpu_check.options_of(
            ["--out", str(self.out), "--build", str(self.out), "--python", os.devnull,
             "--scratch", str(self.out / "scratch"), *words]), Disk(self.out))
        m.begin_stage(seconds, {})
        return m

    def fails(self, stage, m):
        with self.assertRaises(Failure) as failure:
            stage(m)
        return failure.exception


class HowItGoesOn(InAFolder):
    def stage(self, name, outcome=None, least=1):
        def run(m):
            self.ran.append(name)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome
        return name, least, 60, run

    def check(self, *stages, seconds=1000.0, out=None, earlier=None):
        gpu_check.run_stages(FakeMachine(seconds), self.results(out, earlier), stages, note=lambda text: None)
        return {name: r["state"] for name, r in self.results(out).stages.items()}

    def test_what_has_a_result_is_not_run_again_and_what_failed_or_was_left_out_is(self):
        states = self.check(self.stage("a", {"x": 1}), self.stage("b", Failure("wrong", {"y": 2})),
                            self.stage("c", Skip("-")))
        self.assertEqual(states, {"a": "ok", "b": "failed", "c": "skipped"})
        self.ran.clear()
        states = self.check(self.stage("a"), self.stage("b", {"y": 3}), self.stage("c", {}))
        self.assertEqual(self.ran, ["c", "b"], "what failed comes last: it may hang again")
        self.assertEqual(states, {"a": "ok", "b": "ok", "c": "ok"})

    def test_a_stage_that_breaks_costs_no_other(self):
        states = self.check(self.stage("a", KeyError("gone")), self.stage("b", {}))
        self.assertEqual(states, {"a": "failed", "b": "ok"})

    def test_after_a_step_that_cannot_run_nothing_is_tried_and_it_comes_first_the_next_time(self):
        states = self.check(self.stage("smoke", Stop("no step runs")), self.stage("b", {}))
        self.assertEqual(states, {"smoke": "failed"})
        self.ran.clear()
        self.check(self.stage("smoke", {}), self.stage("b", {}))
        self.assertEqual(self.ran, ["smoke", "b"])

    def test_a_stage_is_not_begun_without_its_time_and_comes_next_time(self):
        self.assertEqual(self.check(self.stage("long", {}, least=60), seconds=59), {"long": "no time"})
        self.assertEqual(self.ran, [])
        self.assertEqual(self.check(self.stage("long", {}, least=60)), {"long": "ok"})

    def test_a_stage_with_more_to_do_keeps_what_it_found_and_comes_next_time(self):
        self.check(self.stage("a", Unfinished("half", {"x": 1})))
        self.assertEqual(self.check(self.stage("a", least=60), seconds=5), {"a": "no time"})
        self.assertEqual(self.results().data("a"), {"x": 1})
        self.check(self.stage("a", ValueError("broke")))
        self.assertEqual(self.results().data("a"), {"x": 1}, "a later try that breaks does not lose it")
        self.assertEqual(self.check(self.stage("a", {"x": 2})), {"a": "ok"})

    def test_results_of_another_folder_are_gone_on_with_and_its_plans_too(self):
        plans = self.out / "cache" / "onecycle" / "cudnn-plans.json"
        plans.parent.mkdir(parents=True)
        plans.write_text(json.dumps({"plans": {}, "searches": {"conv": [{"plan": "p", "milliseconds": 1.0}]}}))
        self.check(self.stage("a", {}))
        with tempfile.TemporaryDirectory() as other:
            other = pathlib.Path(other)
            states = self.check(self.stage("a"), self.stage("b", {}), out=other, earlier=self.out)
            self.assertEqual(states, {"a": "ok", "b": "ok"})
            self.assertTrue((other / "cache" / "onecycle" / "cudnn-plans.json").exists())
            self.assertIn("conv", self.results(other).searches)
        self.assertEqual(self.ran, ["a", "b"])

    def test_an_earlier_folder_without_results_is_said_and_everything_is_run(self):
        (self.out / "results.json").write_text("{broken")
        with tempfile.TemporaryDirectory() as other:
            results = self.results(pathlib.Path(other), earlier=self.out)
        self.assertEqual(results.stages, {})
        self.assertIn("everything is run", results.warnings[0])

    def test_the_stage_under_way_when_a_call_was_killed_failed(self):
        self.results().begin("a")
        self.assertEqual(self.results().stages["a"]["why"], "the call ended in the middle of it")

    def test_results_are_replaced_as_a_whole_and_a_write_that_fails_ends_nothing(self):
        self.check(self.stage("a", {}))
        json.loads((self.out / "results.json").read_text())
        self.assertEqual([p.name for p in self.out.iterdir()], ["results.json"])
        results = self.results(pages=lambda results: {"report.md": "page"})
        with unittest.mock.patch.object(pathlib.Path, "write_text", side_effect=OSError(errno.ENOSPC, "No space left")):
            gpu_check.run_stages(FakeMachine(), results, [self.stage("b", {})], note=lambda text: None)
        self.assertEqual(results.disk.trouble, {"results.json": "No space left", "report.md": "No space left"})
        self.assertEqual(results.stages["b"]["state"], "ok")
        results.save()
        self.assertEqual(results.disk.trouble, {}, "there is room again")
        self.assertIn("b", self.results().stages)


class HowAProgramIsRun(InAFolder):
    def run_it(self, line, limit=5.0):
        start = time.monotonic()
        text, errors, code, stopped = children.run(["sh", "-c", line], dict(os.environ), limit)
        self.assertEqual(children.below(os.getpid()), {})
        return text, code, stopped, time.monotonic() - start

    @classmethod
    def setUpClass(cls):
        children.adopt_orphans()

    def test_what_a_program_printed_before_it_hung_is_kept_and_all_that_it_began_ends(self):
        text, code, stopped, seconds = self.run_it(
            "echo early; (setsid sleep 60 &); (trap '' TERM; sleep 60) & sleep 60", 0.5)
        self.assertEqual((text, code, stopped), ("early\n", 124, True))
        self.assertLess(seconds, 5)

    def test_what_outlives_its_program_is_ended_and_not_waited_for(self):
        text, code, stopped, seconds = self.run_it("echo done; sleep 60 & exit 3", 50)
        self.assertEqual((text, code, stopped), ("done\n", 3, False))
        self.assertLess(seconds, 10)

    def test_a_program_that_died_is_named_by_its_signal(self):
        self.script("dies", "echo some; echo why >&2; kill -SEGV $$")
        text, code, trouble = self.machine().run(self.out / "dies")
        self.assertEqual((text, trouble), ("some\n", "died of SIGSEGV; last words: why"))

    def test_carried_libraries_are_for_our_own_programs_alone(self):
        self.script("shows", "echo ${LD_LIBRARY_PATH-none}")
        self.script("compute-sanitizer", "echo tool ${LD_LIBRARY_PATH-none}; shift 6", '"$@"',
                    "echo ERROR SUMMARY: 0 errors")
        m = self.machine("--rehearse")  # which takes the sanitizer from among the programs
        m.environment.pop("LD_LIBRARY_PATH", None)
        with unittest.mock.patch.object(m, "carried", lambda: {"LD_LIBRARY_PATH": "/carried"}):
            self.assertEqual(m.own("shows")[0], "/carried\n")
            self.assertEqual(m.run(self.out / "shows")[0], "none\n")
            _, _, text = checks.sanitize(m, "memcheck", self.out / "shows", limit=5)
        self.assertEqual(text, "tool none\n/carried\nERROR SUMMARY: 0 errors\n")


PROFILE = ('{"whole_step": {"seconds": 0.01, "updates": 3, "launches": 3, "calls_a_launch": 2, '
           '"blocking_calls_a_launch": 0, "images_per_second": 100.0}, "precision": "bf16", "steps": []}')


class Stages(InAFolder):
    def test_a_step_that_cannot_be_captured_is_tried_piece_by_piece(self):
        self.script("onecycle", """case "$*" in *--no-graph*) echo '{"whole_step": {}}'; exit;; esac""",
                    'echo "error: capture" >&2; exit 7')
        failure = self.fails(steps.step("224:256"), self.machine())
        self.assertEqual(str(failure), "error: capture; with --no-graph it runs")
        self.assertEqual(failure.data, {"without_graph": {"whole_step": {}}})
        self.script("onecycle", 'echo "error: $*" >&2; exit 7')
        self.assertIn("; with --no-graph: error: ", str(self.fails(steps.step("224:256"), self.machine())))

    def test_a_step_that_runs_only_without_one_grid_is_measured_so_and_the_page_says_it(self):
        self.script("onecycle", f"[ \"$ONECYCLE_ONE_GRID\" = 0 ] && echo '{PROFILE}' && exit",
                    'echo "error: too large" >&2; exit 7')
        m = self.machine()
        failure = self.fails(steps.smoke, m)
        self.assertNotIsInstance(failure, Stop)
        self.assertEqual(failure.data["goes_on_without"], "one-grid norms")
        self.assertEqual(steps.step("224:256")(m)["whole_step"]["updates"], 3)
        results = self.results()
        results.put("smoke", "failed", data=failure.data)
        self.assertTrue(gpu_check.settled(results, "smoke"), "a later call goes on in the same way")
        self.assertIn("measured without the one-grid norms", "\n".join(decisions.decisions(results)))
        found = steps.switches("64:64")(m)
        self.assertEqual({side for r in found["rounds"] for side in r}, {"10", "00"}, "not tried with it")

    def test_a_step_that_runs_as_a_graph_needs_no_way_round(self):
        self.script("onecycle", f"""case "$*" in *--no-graph*) ;; *) echo '{PROFILE}'; exit;; esac; exit 7""")
        failure = self.fails(steps.smoke, self.machine())
        self.assertNotIsInstance(failure, Stop)
        self.assertNotIn("goes_on_without", failure.data)

    def test_a_step_that_never_runs_stops_the_call(self):
        self.script("onecycle", 'echo "error: no device" >&2; exit 7')
        self.assertIsInstance(self.fails(steps.smoke, self.machine()), Stop)

    def test_updates_that_had_no_effect_fail(self):
        self.script("onecycle", f"echo '{PROFILE}'".replace('"updates": 3', '"updates": 2'))
        self.assertIn("only 2 of 3 steps", str(self.fails(steps.step("64:64"), self.machine())))

    def test_a_switch_that_breaks_a_step_is_tried_once_and_the_others_are_measured(self):
        self.script("onecycle", f'side=$ONECYCLE_BRANCH$ONECYCLE_ONE_GRID; echo $side >> {self.out}/tried',
                    f"[ $side != 01 ] && echo '{PROFILE}' && exit", 'echo "error: branch" >&2; exit 7')
        failure = self.fails(steps.switches("64:64"), self.machine())
        self.assertEqual(str(failure), "ONECYCLE_BRANCH=0 ONECYCLE_ONE_GRID=1: error: branch")
        self.assertEqual((self.out / "tried").read_text().split().count("01"), 1)
        self.assertEqual(len(failure.data["rounds"]), 3)

    def test_lines_of_PyTorch_are_kept_when_it_hangs_and_known_ones_are_not_asked_for_again(self):
        self.script("python", 'case "$*" in -c*) exit;; esac', f'echo "$*" > {self.out}/asked',
                    'echo \'{"name": "step 224:256 bf16 eager", "blocks": [1.0]}\'; echo \'{"name": "step\'; sleep 60')
        m = self.machine("--python", str(self.out / "python"), seconds=2)
        failure = self.fails(peers.steps("224:256", "eager", "graph"), m)
        self.assertRegex(str(failure), "^stopped after 2 s")
        self.assertEqual([r["name"] for r in failure.data["results"]], ["step 224:256 bf16 eager"])
        m.begin_stage(2, failure.data)
        self.fails(peers.steps("224:256", "eager", "graph"), m)
        self.assertIn("--without step 224:256 bf16 eager", (self.out / "asked").read_text())

    def test_a_sanitizer_is_content_only_when_cases_ran_and_nothing_was_found(self):
        for name in checks.SANITIZED:
            self.script(f"tests/cuda/{name}", "exit 0")
        for said, good in (("RACECHECK SUMMARY: 0 hazards displayed (0 errors)\n[  PASSED  ] 2 tests.", True),
                           ("ERROR SUMMARY: 0 errors\n[  PASSED  ] 2 tests.", True),
                           ("ERROR SUMMARY: 0 errors\n[  PASSED  ] 0 tests.", False),
                           ("ERROR SUMMARY: 3 errors\n[  PASSED  ] 2 tests.", False),
                           ("Device not supported", False)):
            self.script("bin/compute-sanitizer", f"printf '{said}\n'")
            with unittest.mock.patch.dict(os.environ, PATH=f"{self.out / 'bin'}:{os.environ['PATH']}"):
                stage, m = checks.sanitizer("racecheck"), self.machine()
                if good:
                    self.assertEqual(len(stage(m)), len(checks.SANITIZED))
                else:
                    self.fails(stage, m)

    def test_fusions_that_had_no_time_come_next_time_and_measured_ones_stay(self):
        late = {"graph": "a", "c": 64, "error": "no time was left for it"}
        measured = {"graph": "a", "c": 64, "microseconds": 2.0}
        for first, second in ((measured, late), (late, measured)):
            self.script("bench_fusions", f"echo '{json.dumps(second)}'")
            m = self.machine()
            m.begin_stage(20, {"lines": [first]})
            self.assertEqual(checks.fusions(m)["lines"], [measured])
        self.script("bench_fusions", f"echo '{json.dumps(late)}'")
        with self.assertRaises(Unfinished):
            checks.fusions(self.machine())

    def test_a_test_program_that_fails_is_named(self):
        self.script("tests/cuda/test_cuda_loss", "echo; echo '[       OK ] Loss.a'",
                    "echo '[  FAILED  ] Loss.counts (1 ms)'", "exit 1")
        programs = {"test_cuda_loss": "*", "test_cuda_pool": "*"}
        failure = self.fails(checks.run_tests({}, programs, 10), self.machine())
        self.assertEqual(str(failure), "Loss.counts")
        self.assertEqual(failure.data["test_cuda_pool"], "test_cuda_pool is not built")
        self.script("tests/cuda/test_cuda_loss", "echo '[  PASSED  ] 0 tests.'")
        self.fails(checks.run_tests({}, programs, 10), self.machine())  # a filter that chooses nothing

    def test_tests_stop_after_two_that_hang_and_those_that_passed_are_not_run_again(self):
        passes = ("echo; echo '[       OK ] Case.a'", f"echo $0 >> {self.out}/ran")
        hangs = ("echo; echo '[ RUN      ] Case.b'", f"echo $0 >> {self.out}/ran", "sleep 60")
        programs = {"first": passes, "second": hangs, "third": hangs, "fourth": passes}
        for name, lines in programs.items():
            self.script(name, *lines)
        m, stage = self.machine(), checks.run_tests({}, dict.fromkeys(programs, "*"), 0.5)
        failure = self.fails(stage, m)
        self.assertEqual(str(failure), "Case.b (did not end), Case.b (did not end)")
        self.assertNotIn("fourth", failure.data)
        (self.out / "ran").unlink()
        m.begin_stage(20, failure.data)
        self.fails(stage, m)
        self.assertNotIn("first", (self.out / "ran").read_text())

    def test_the_text_of_the_device_is_held_against_that_of_the_tests(self):
        text = checks.tested_device_text()
        self.assertEqual(json.loads(text)["deviceName"], "NVIDIA H200")
        (self.out / "text").write_text(text)
        self.script("cudnn_device_text", f"cat {self.out}/text")
        self.assertEqual(checks.device_text(self.machine())["differs"], {})
        (self.out / "text").write_text(text.replace('"multiProcessorCount":132', '"multiProcessorCount":114'))
        self.assertEqual(checks.device_text(self.machine())["differs"], {"multiProcessorCount": [132, 114]})

    def test_every_program_that_is_asked_for_has_a_source(self):
        known = {path.stem for path in (ROOT / "tests").rglob("*.cpp")}
        known.add("test_cuda_pytorch")  # built of test_ops_pytorch.cpp
        for name in (*checks.TESTS, *checks.GOLDENS, *checks.SANITIZED):
            self.assertIn(name, known)


class WhatItConcludes(InAFolder):
    def said(self, **stages):
        results = self.results()
        for name, data in stages.items():
            results.put(name.replace("_", " "), "ok", data=data)
        return results, "\n".join(decisions.decisions(results))

    def test_a_switch_is_judged_against_the_spread_of_its_rounds(self):
        def verdict(*pairs):
            return decisions.verdict([{"11": a, "01": b} for a, b in pairs], "11", "01")
        self.assertEqual(verdict((1.0, 0.96), (1.1, 1.056), (1.2, 1.1496)),
                         "off, 4.0 % faster (spread 0.2 %, 3 rounds)")
        self.assertEqual(verdict((0.96, 1.0), (0.96, 1.0)), "on, 4.0 % faster (spread 0.0 %, 2 rounds)")
        self.assertEqual(verdict((1.0, 0.997), (1.0, 1.002), (1.0, 0.992)),
                         "no difference seen, 0.3 % against a spread of 1.0 %")
        self.assertEqual(verdict((1.0, 0.9)), "off, 10.0 % faster in the only round, so noise is not known")
        self.assertEqual(verdict((1.0, "error: branch")), "not measured: error: branch")

    def test_PyTorch_s_best_of_the_same_case_is_what_counts(self):
        def torch(name, seconds, **more):
            return {"name": name, "images_per_second": 256 / seconds, "blocks": [seconds, seconds * 1.002], **more}
        whole = {"images_per_second": 12800.0, "calls_a_launch": 2, "blocking_calls_a_launch": 0}
        step = {"whole_step": whole, "limits": {"bytes_per_second": 4e12, "flops_per_second": 8e14, "source": "test",
                                                "of_this_device": True},
                "steps": [{"operation": "batch_norm", "shape": "64x56x56", "implementation": "own", "seconds": 1e-4,
                           "bytes": 3e8, "flops": 1e6, "limit_seconds": 8e-5, "share": 0.8}]}
        results, said = self.said(**{
            "step 224:256 bf16": step,
            "PyTorch 224:256": {"results": [torch("step 224:256 bf16 eager", 0.025),
                                            torch("step 224:256 bf16 graph", 0.02)]},
            "PyTorch 128:64": {"results": [torch("step 128:64 bf16 graph", 0.001),
                                           {"name": "step 128:64 bf16 compile", "error": "it broke"}]}})
        self.assertIn("PyTorch's best at 224:256 bf16 is 12800 images/s (graph): ours 12800, ratio 1.00, no difference "
                      "seen against a spread of 0.", said)
        self.assertIn("PyTorch's best at 128:64 bf16 is 256000 images/s (graph): ours was not measured", said)
        results.put("racecheck", "no time", why="5 s were left, it needs 60")
        page = report.Page(results).text()
        self.assertIn("| 224:256 bf16 | 12800 | 10240 | 12800 (graph) | 1.00 | 2 | 0 |", page)
        self.assertIn("it broke", page)
        self.assertIn("- racecheck: 5 s were left, it needs 60", page)
        self.assertIn("| batch_norm | 1 | 100.0 | 300.0 | 3000 | 80 % |", page)
        self.assertNotIn("emulator", page)
        results.device = "emulated"
        self.assertIn("No number here says anything about a GPU", report.Page(results).text())

    def test_a_fusion_pays_by_the_median_of_its_shapes_and_what_does_not_run_or_differs_is_said(self):
        def line(graph, c, ours, plain, **more):
            return {"graph": graph, "dtype": "f16", "c": c, "microseconds": ours, "plain_microseconds": plain, **more}
        _, said = self.said(fusions={"lines": [
            line("b'", 64, 88, 100, error="a slower plan failed"), line("b'", 128, 50, 62, equal_bits=False),
            line("plain", 64, 100, 100), {"graph": "e", "dtype": "f16", "error": "no time was left for it"},
            line("a", 64, 101, 100), line("d", 64, 120, 100), {"graph": "c", "dtype": "bf16", "error": "no engine"}]})
        self.assertIn("fuse (b') in f16: yes, 12 µs a layer faster (median; faster in 2 of 2 shapes); **bits differ "
                      "from run to run in 1**", said)
        self.assertIn("fuse (a) in f16: no difference seen, -1.0 % (median; faster in 0 of 1 shapes)", said)
        self.assertIn("fuse (d) in f16: no, 20 µs a layer slower", said)
        self.assertIn("fuse (c) in bf16: no, it does not run: no engine", said)
        self.assertNotIn("plain", said)
        self.assertNotIn("(e)", said)

    def test_convolutions_that_fell_back_to_our_own_kernel_are_named(self):
        step = {"whole_step": {"images_per_second": 1.0}, "steps": [{"implementation": "direct", "shape": "64x56x56"}]}
        _, said = self.said(**{"step 64:64 bf16": step})
        self.assertIn("1 convolutions ran on our own direct kernel", said)

    def test_the_page_says_what_the_search_for_plans_was_worth(self):
        results = self.results()
        results.searches = {"conv a": [{"plan": "engine 1:", "milliseconds": 0.03},
                                       {"plan": "engine 5:", "milliseconds": 0.02}]}
        self.assertIn("| conv a | 2 | 30.0 | 20.0 | 1.50 | engine 5: |", report.Page(results).text())
        self.assertIn("1 convolutions, 2 plans timed for each; the fastest beats cuDNN's first by 50.0 % (median), "
                      "50.0 % at most", "\n".join(decisions.decisions(results)))

    def test_what_is_kept_is_named_by_date_and_GPU_and_holds_no_place_of_the_machine(self):
        results, _ = self.said(machine={"gpu": "NVIDIA H200"}, ladder={"text": f"{ROOT}/bin/bench_ladder said"})
        results.begin_call(gpu_check.command(["--out", str(self.out), "--budget", "420"]))
        kept = report.keepsakes(results)
        day = time.strftime("%Y-%m-%d", time.gmtime())
        self.assertEqual(sorted(kept), [f"{day}-gpu-nvidia-h200.json", f"{day}-gpu-nvidia-h200.md"])
        for text in kept.values():
            self.assertNotIn(str(ROOT), text)
            self.assertNotIn(str(self.out), text)
            self.assertIn(f"scripts/gpu_check --out {self.out.name} --budget 420", text)

    def test_the_page_shows_the_ladder_and_a_wrong_rung_fails(self):
        for place in ("bench/ladder/bench_ladder", "bench_ladder"):  # where it is built, and in an archive's bin/
            self.script(place, "echo \"on $2\"", "echo '| 5 shipped | 25.0 |'")
            results, _ = self.said(ladder=checks.ladder(self.machine("--rehearse")))
            page = report.Page(results).text()
            self.assertIn("## The ladder of kernels\n\non emulated\n| 5 shipped | 25.0 |\n", page)
            self.script(place, "echo 'error: a rung is wrong: 3 tiles' >&2", "exit 1")
            self.assertIn("3 tiles", str(self.fails(checks.ladder, self.machine())))


class WhatItTakesAlong(unittest.TestCase):
    def test_a_first_call_is_at_most_420_seconds_and_every_stage_has_its_own_end(self):
        self.assertEqual(gpu_check.options_of([]).budget, 420)
        for name, least, most, _ in gpu_check.STAGES:
            self.assertLess(least, most, name)
            self.assertLessEqual(most, 150, name)

    def test_the_list_names_every_stage(self):
        said = subprocess.run([sys.executable, SCRIPT, "--list"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(len(said.splitlines()), len(gpu_check.STAGES))


if __name__ == "__main__":
    unittest.main()
