"""The archive for a machine where nothing is installed: programs without symbols, their libraries, these scripts."""
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile

from checks import CARRIED_TEXT, GOLDENS, TESTS, tested_device_text
from machine import ROOT, build_folder, find_program
from results import Skip

LIMIT = 40 * 2**20  # bytes; what is carried to a machine is often limited, and the working tree may travel, too
# The programs hold the same kernels, so the dictionary must reach from one to the next.
FILTERS = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 3, "dict_size": 256 * 2**20}]
PROGRAMS = ("onecycle", "bench_fusions", "cudnn_device_text", "bench_ladder", *TESTS, *GOLDENS)


def pack(build, archive, commit):
    """Writes the archive; whether it is small enough to be carried."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "gpu-check"
        missing = fill_folder(build_folder(build), folder)
        (folder / "COMMIT").write_text(commit + "\n")
        with lzma.open(archive, "w", filters=FILTERS) as compressed, tarfile.open(fileobj=compressed, mode="w") as tar:
            tar.add(folder, arcname="gpu-check")
        whole = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    size = os.path.getsize(archive)
    for name in missing:
        print(f"left out: {name} is not built (configure with -DONECYCLE_CUDA=ON -DONECYCLE_BUILD_BENCH=ON)")
    print(f"{archive}: {size / 2**20:.1f} MiB, unpacked {whole / 2**20:.1f} MiB")
    if size > LIMIT:
        print(f"error: archive too large: {archive}: more than {LIMIT / 2**20:.0f} MiB; fix: build for one GPU alone, "
              "-DONECYCLE_CUDA_ARCHITECTURES=90-real")
    return size <= LIMIT


def fill_folder(build, folder):
    """The names of programs that are not there."""
    missing = []
    for part in ("bin", "lib", "scripts", "bench", "tests"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        try:
            program = find_program(build, name)
        except Skip:
            missing.append(name)
            continue
        shutil.copy2(program, folder / "bin" / name)
        subprocess.run(["strip", folder / "bin" / name], check=True)
        for library in shared_libraries(program):
            shutil.copy2(library, folder / "lib")  # by the name that programs ask for
    shutil.copy2(ROOT / "scripts" / "gpu_check", folder / "scripts")
    shutil.copytree(ROOT / "scripts" / "gpu_check.d", folder / "scripts" / "gpu_check.d", dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("__pycache__"))
    (folder / CARRIED_TEXT.relative_to(ROOT)).write_text(tested_device_text())
    for name in ("bench/pytorch_gpu.py", "bench/pytorch_recipe.py"):
        shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / "tests" / "reference" / "data", folder / "tests" / "reference" / "data", dirs_exist_ok=True)
    return missing


def shared_libraries(program):
    """What the loader finds for a program, but for the C library, which must be the other machine's."""
    system = re.compile(r"/(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libutil)[-.]")
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [path for path in re.findall(r"=> (/\S+)", text) if not system.search(path)]
