"""Stages that look whether things are right: the machine, tests, sanitizers; and two benchmarks of kernels."""
import json
import os
import platform
import re
import time

import children
from machine import ROOT, json_lines
from results import Failure, Skip, Unfinished

# Programs and which of their cases; the same ones run on the emulator in CI.
TESTS = {f"test_cuda_{name}": "*" for name in (
    "elementwise", "input", "augment", "mix", "loss", "linear", "pool", "batch_norm", "batch_norm_backward", "head",
    "update", "convolution", "pytorch")}
GOLDENS = {"test_nn_training": "*emulated", "test_nn_emulated": "*"}
SMALL_TESTS = {"test_cuda_elementwise": "*", "test_cuda_linear": "*", "test_cuda_loss": "*", "test_cuda_input": "*"}
SMALL_GOLDENS = {"test_nn_training": "*sgd_emulated"}
# What a sanitizer slows down a hundredfold: one case of each family of kernels.
SANITIZED = {"test_cuda_elementwise": "*", "test_cuda_input": "*", "test_cuda_augment": "*",
             "test_cuda_mix": "MixBatch*", "test_cuda_loss": "*",
             "test_cuda_update": "*norm*:*16_bit*:CudaCommitStep*", "test_cuda_pool": "*",
             "test_cuda_batch_norm": "*", "test_cuda_head": "*"}

CARRIED_TEXT = ROOT / "tests" / "h200_device_text.json"
RAW_TEXT = r'R"\(\{"maxGridSize"(?:.|\n)*?\}\)"'


def machine(m):
    found = {"processor": platform.machine(), "cores": os.cpu_count(), "python_with_torch": bool(m.python)}
    query = "name,driver_version,memory.total,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu"
    try:
        text, code, trouble = m.run(m.tool("nvidia-smi"), f"--query-gpu={query}", "--format=csv", limit=15)
        found["nvidia-smi"] = trouble if code else text.strip()
        if not code:
            found["gpu"] = text.strip().splitlines()[-1].split(",")[0].strip()
    except Skip as missing:
        found["nvidia-smi"] = str(missing)
    found["doctor"] = m.onecycle("doctor", limit=20)
    return found


def device_text(m):
    """What cuDNN calls this GPU, and where that differs from the text that plans are looked for with in the tests."""
    text, code, trouble = m.own("cudnn_device_text", limit=20)
    if code:
        raise Failure(trouble)
    found = {"device_text": text.strip()}
    try:
        tested, here = json.loads(tested_device_text()), json.loads(text)
        found["differs"] = {key: [tested.get(key), here.get(key)] for key in sorted({*tested, *here})
                            if tested.get(key) != here.get(key)}
    except ValueError as error:
        found["not_compared"] = str(error)
    return found


def tested_device_text():
    """The text that stands for an H200 in the tests: from their sources, or from the file that an archive has."""
    if CARRIED_TEXT.exists():
        return CARRIED_TEXT.read_text()
    for source in sorted((ROOT / "tests").glob("*/*.*")):
        if source.suffix in (".h", ".cpp") and (text := re.search(RAW_TEXT, source.read_text())):
            return "".join(re.findall(r'R"\((.*?)\)"', text[0]))
    return ""


def run_tests(small, whole, limit):
    """Each test program's counts; Failure naming the cases that failed. Stops after two that hang."""
    def stage(m):
        found = {name: kept for name, kept in m.known.items() if isinstance(kept, dict) and kept["code"] == 0}
        hung = 0
        for name, cases in (small if m.small else whole).items():
            if name in found:
                continue
            if m.left_of_stage() < 2:
                break
            try:
                result = run_test(m, name, cases, limit)
            except Skip as missing:
                found[name] = str(missing)
                continue
            if result["code"] == 124 and m.left_of_stage() < 0.5 and result["failed"] == result["hung"]:
                break  # the stage's time ended, not the test's
            found[name] = result
            hung += result["code"] == 124
            if hung == 2:
                break
        programs = small if m.small else whole
        bad = [failed for name, r in found.items() if isinstance(r, dict) and (r["code"] or not r["passed"])
               for failed in r["failed"] or [f"{name} ended with {r['code']} after {r['passed']} cases"]]
        if bad:
            raise Failure(", ".join(bad)[:500], found)
        if left := [name for name in programs if name not in found]:
            raise Unfinished(f"no time for {', '.join(left)}", found)
        if all(isinstance(r, str) for r in found.values()):
            raise Skip("none of the test programs is built")
        return found
    return stage


def run_test(m, name, cases, limit):
    text, code, trouble = m.own(name, "--gtest_color=no", f"--gtest_filter={cases}", limit=limit, merge=True)
    passed = text.count("\n[       OK ] ")
    failed = sorted(set(re.findall(r"\[  FAILED  \] (\S+\.\S+?),? ", text + " ")))
    begun = re.findall(r"\[ RUN      \] (\S+)", text)
    hung = [f"{begun[-1]} (did not end)"] if code == 124 and begun else []
    return {"passed": passed, "failed": failed + hung, "hung": hung, "code": code}


def memcheck(m, program, *words, limit=30):
    """What the sanitizer says of one run of a program of ours, as text."""
    try:
        return sanitize(m, "memcheck", program, *words, limit=limit)[0]
    except Skip as missing:
        return str(missing)


def sanitize(m, tool, program, *words, limit):
    """(summary, exit code, output). The libraries that were carried are for the program, not for the tool."""
    carried = [f"{k}={v}" for k, v in m.carried().items()]
    inner = [*(["env", *carried] if carried else []), program, *words]
    text, code, trouble = m.run(m.tool("compute-sanitizer"), "--tool", tool, "--target-processes", "all",
                                "--error-exitcode", 42, *inner, limit=limit, merge=True)
    summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", text)
    return (summary[-1] if summary else "no time" if code == 124 else trouble or f"exit code {code}"), code, text


def sanitizer(tool):
    def stage(m):
        m.tool("compute-sanitizer")
        found = {name: kept for name, kept in m.known.items() if kept.startswith("0 ")}
        bad = []
        for name, chosen in SANITIZED.items():
            if name in found:
                continue
            if m.left_of_stage() < 3:
                found[name] = "no time"
                continue
            try:
                program = m.program(name)
            except Skip as missing:
                found[name] = str(missing)
                continue
            found[name], code, text = sanitize(m, tool, program, f"--gtest_filter={chosen}", limit=60)
            clean = code == 0 and found[name].startswith("0 ") and re.search(r"\[  PASSED  \] [1-9]", text)
            if not clean and code != 124:
                bad.append(f"{name}: {found[name]}")
        if bad:
            raise Failure("; ".join(bad), found)
        if all(said.endswith("is not built") for said in found.values()):
            raise Skip("none of the test programs is built")
        if late := [name for name, said in found.items() if said == "no time"]:
            raise Unfinished(f"no time for {', '.join(late)}", found)
        return found
    return stage


def fusions(m):
    """bench_fusions' lines: each fused graph beside the plain one, by shape. A line that was printed is kept."""
    m.program("bench_fusions")
    text, code, trouble = m.own("bench_fusions", "--seconds", max(1, int(m.left_of_stage() - 8)), limit=600)
    keys = ("graph", "dtype", "n", "c", "h", "w", "k", "r", "stride")
    lines = {}
    for line in [*m.known.get("lines", []), *json_lines(text)]:
        key = tuple(line.get(k) for k in keys)
        if key not in lines or line.get("microseconds"):
            lines[key] = line
    found = {"lines": list(lines.values())}
    if code:
        raise Failure(trouble, found)
    if not lines:
        raise Failure("it printed nothing", found)
    if late := [line for line in lines.values() if "no time" in (line.get("error") or "")]:
        raise Unfinished(f"no time for {len(late)} of {len(lines)} graphs", found)
    return found


def ladder(m):
    text, code, trouble = m.own("bench_ladder", "--device", m.device)
    if code:
        raise Failure(trouble)
    return {"text": text}


def left_running(m):
    """Whether anything that a stage began still runs, on this machine or on its GPU."""
    stuck, found = children.end_all(), {}
    try:
        text, code, trouble = m.run(m.tool("nvidia-smi"), "--query-compute-apps=pid,name", "--format=csv,noheader",
                                    limit=15)
        found["on the GPU"] = trouble if code else text.strip() or "nothing"
    except Skip as missing:
        found["on the GPU"] = str(missing)
    found["processes"] = stuck
    if stuck:
        raise Failure(f"still running: {', '.join(stuck)}", found)
    return found
