"""All of scripts/gpu_check, tiny, on the emulated device, while everything goes wrong: what the report holds then.

    python3 tests/scripts/test_gpu_check_rehearsal.py build

The programs are the real ones of that build, but for those that hang or die here, and for tools of a GPU's machine.
"""
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
# Profiles that are asked for with equal words have one answer: what differs is what the rehearsal
# takes its time for.
ONECYCLE = '''
case "$*" in
profile*)
    [ -e {here}/hang ] && touch {here}/hangs && exec sleep 1000
    answer={here}/$(echo "$*" | cksum | tr " " -).json
    [ -e $answer ] || {{ {build}/onecycle "$@" > $answer.new && mv $answer.new $answer; }} || exit
    exec cat $answer;;
*) exec {build}/onecycle "$@";;
esac'''
HANG = "(setsid sleep 1000 &) ; sleep 1000"  # with an offspring that leaves the group
TORCH = '''
echo '{"name": "step 224:256 bf16 eager", "images_per_second": 512.0, "blocks": [0.5, 0.5]}'
echo '{"name": "step 224:256 bf16 graph", "images_per_second": 640.0, "blocks": [0.4], "more_to_come": true}'
echo '{"name": "step 128:64 bf16 gra'
kill -KILL $$'''
FUSIONS = '''
echo '{"graph": "b", "dtype": "f16", "n": 256, "c": 64, "k": 64, "microseconds": 88.0, "plain_microseconds": 100.0}'
echo '{"graph": "b", "dtype": "f16", "n": 256, "c": 128, "k": 128, "microseconds": 90.0, "plain_microseconds": 102.0}'
echo '{"graph": "b", "dtype": "f1'
kill -SEGV $$'''


class Rehearsal(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.here = pathlib.Path(self.folder.name)
        self.mark = f"GPU_CHECK_REHEARSAL={uuid.uuid4()}"
        self.addCleanup(self.end_all)
        self.script("onecycle", ONECYCLE.format(here=self.here, build=BUILD))
        for name in ("tests/cuda/test_cuda_elementwise", "tests/cuda/test_cuda_loss", "bench/ladder/bench_ladder"):
            (self.here / pathlib.Path(name).name).symlink_to(BUILD / name)

    def script(self, name, text):
        (self.here / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.here / name).chmod(0o755)

    def begin(self, out, *words, **how):
        name, value = self.mark.split("=")
        return subprocess.Popen(
            [sys.executable, ROOT / "scripts" / "gpu_check", "--rehearse", "--out", self.here / out,
             "--build", self.here, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, name: value}, **how)

    def call(self, *words, **how):
        """(exit code, what it printed); nothing that it began may be left."""
        process = self.begin(*words, **how)
        said, _ = process.communicate(timeout=280)
        self.assertEqual(self.left(), [], said)
        return process.returncode, said

    def left(self):
        """Programs that still run and come from a call of this test."""
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if self.mark in (process / "environ").read_text(errors="replace").split("\0"):
                    if ") Z" not in (process / "stat").read_text():
                        found.append(int(process.name))
            except OSError:
                pass
        return found

    def end_all(self):
        for process in self.left():
            os.kill(process, signal.SIGKILL)

    def hang_until(self, process, what):
        """Waits for a program to hang; then does `what` to the call."""
        deadline = time.monotonic() + 60
        while not (self.here / "hangs").exists():
            self.assertLess(time.monotonic(), deadline, "it never came to the program that hangs")
            self.assertIsNone(process.poll(), "it ended before")
            time.sleep(0.05)
        process.send_signal(what)
        said, _ = process.communicate(timeout=30)
        (self.here / "hang").unlink()
        (self.here / "hangs").unlink()
        return said

    def results(self, out):
        return json.loads((self.here / out / "results.json").read_text())

    def test_a_call_that_is_killed_is_gone_on_with_and_every_fault_costs_one_stage(self):
        (self.here / "hang").touch()
        killed = self.begin("first")
        self.hang_until(killed, signal.SIGKILL)
        time.sleep(0.2)
        self.assertEqual(self.left(), [], "the program that hung ended with its call")
        first = self.results("first")["stages"]
        self.assertEqual({name: r["state"] for name, r in first.items() if r["state"] != "skipped"},
                         {"machine": "ok", "smoke": "running"})
        self.assertIn("| smoke | running |", (self.here / "first" / "report.md").read_text())

        self.script("nvidia-smi", 'case "$*" in *apps*) ;; *) printf "name, driver\\nNVIDIA Test 9000, 1.2\\n";; esac')
        self.script("cudnn_device_text", """echo '{"multiProcessorCount":7,"warpSize":32}'""")
        self.script("test_cuda_linear",
                    f"echo; echo '[       OK ] Linear.a (1 ms)'; echo '[ RUN      ] Linear.b'; {HANG}")
        self.script("compute-sanitizer", f"case $2 in memcheck) {HANG};; *) printf 'ERROR SUMMARY: 0 errors\\n"
                                         "[  PASSED  ] 2 tests.\\n';; esac")
        self.script("bench_fusions", FUSIONS)
        self.script("python-with-torch", f'case "$*" in -c*) ;; *) {TORCH};; esac')
        code, said = self.call("second", "--earlier", self.here / "first", "--budget", "260",
                               "--python", self.here / "python-with-torch")
        found = self.results("second")
        stages, report = found["stages"], (self.here / "second" / "report.md").read_text()
        self.assertEqual(code, 1, said)
        self.assertNotIn("machine: ok", said, "what has a result is not run again")
        self.assertEqual([call["date"] for call in found["calls"]], sorted(call["date"] for call in found["calls"]))
        self.assertEqual(len(found["calls"]), 2)
        for name in ("smoke", "step 224:256 bf16", "switches 64:64", "switches 128:64", "step 128:64 bf16",
                     "step 224:256 fp16", "step 224:256 bf16 again", "range test", "cold start", "racecheck", "ladder",
                     "nothing left running"):
            self.assertEqual(stages[name]["state"], "ok", f"{name}: {stages[name]['why']}\n{said}")

        tests = stages["tests on the device"]
        self.assertEqual(tests["state"], "failed")
        self.assertEqual(tests["why"], "Linear.b (did not end)")
        self.assertEqual(tests["data"]["test_cuda_linear"]["passed"], 1)
        self.assertGreater(tests["data"]["test_cuda_loss"]["passed"], 0, "the program after it ran")
        self.assertEqual(stages["memcheck"]["state"], "no time")
        self.assertEqual([r["name"] for r in stages["PyTorch 224:256"]["data"]["results"]],
                         ["step 224:256 bf16 eager", "step 224:256 bf16 graph"], "lines before it died are kept")
        self.assertEqual(stages["fusions"]["state"], "failed")
        self.assertEqual(len(stages["fusions"]["data"]["lines"]), 2)
        self.assertEqual(stages["cuDNN's device text"]["data"]["differs"]["multiProcessorCount"], [132, 7])

        for line in ("- fuse (b) in f16: yes, 12 µs a layer faster (median; faster in 2 of 2 shapes)",
                     "- **PyTorch 224:256 failed**: died of SIGKILL", "- **fusions failed**: died of SIGSEGV",
                     "- **tests on the device failed**: Linear.b (did not end)",
                     "- PyTorch's best at 224:256 bf16 is 640 images/s (graph): ours ",
                     "- branch at 64:64: ", "- racecheck: nothing found in 2 programs",
                     "## Where the time goes, 224:256 bf16",
                     "multiProcessorCount (132 there, 7 here)", "- photographs: no folder of photographs"):
            self.assertTrue(line in report, line)
        self.assertIn("fuse (b) in f16: yes", said, "decisions are on standard output, too")
        day = found["calls"][0]["date"][:10]
        kept = {path.name for path in (self.here / "second").glob(f"{day}*")}
        self.assertEqual(kept, {f"{day}-gpu-emulated.md", f"{day}-gpu-emulated.json"})
        for name in kept:
            self.assertNotIn(str(self.here), (self.here / "second" / name).read_text())

    def test_a_full_disk_and_a_missing_PyTorch_are_findings(self):
        def full():
            resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))
        code, said = self.call("out", "--only", "machine", "PyTorch", "ladder", "--python", os.devnull, preexec_fn=full)
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"results\.json: not written: File too large")
        self.assertIn("# onecycle on the emulator", said, "the whole page is on standard output")
        self.assertIn("| PyTorch 224:256 | skipped | 0.0", said)
        self.assertIn("no Python that has PyTorch", said)
        self.assertIn("All rungs are right", said)
        self.assertIn("results.json was not written", said)
        for file in (self.here / "out").glob("*.new"):
            self.fail(f"{file.name} is left of a write that failed")

    def test_a_call_that_is_told_to_end_writes_what_it_has(self):
        (self.here / "hang").touch()
        process = self.begin("out")
        said = self.hang_until(process, signal.SIGTERM)
        self.assertEqual(process.returncode, 1, said)
        self.assertEqual(self.left(), [])
        self.assertEqual(self.results("out")["stages"]["smoke"]["why"], "the call was told to end")
        self.assertTrue(re.search(r"^report.md|/report.md$", said, re.MULTILINE))


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
