"""What a second process costs on a processor: two ranks of one thread each beside one rank of two threads that takes
the same images to an update (`--accumulate 2`). Both train the same weights, bit for bit; the last losses are compared.

    bench/ranks_cpu.py --binary build/onecycle --flowers data/flowers --out mine.json

They take turns, `--rounds` times in one run; the answer is the median of the rounds' ratios of images/s. Needs Open
MPI, and a machine with two cores and little else to do."""
import argparse
import datetime
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile

from markdown_table import results, table
from photos import processor

CASES = {"resnet18, 64 px, 32 a rank": ["--arch", "resnet18", "--size", 64, "--batch-size", 32],
         "resnet34, 64 px, 64 a rank": ["--arch", "resnet34", "--size", 64, "--batch-size", 64]}
WAYS = {"one rank": ([], ["--threads", 2, "--accumulate", 2]),
        "two ranks": (["mpirun", "--oversubscribe", "-n", 2], ["--threads", 1])}


def train(binary, data, case, launcher, options):
    """images/s of an epoch, and its loss."""
    with tempfile.TemporaryDirectory() as out:
        command = [*launcher, binary, "train", data, *case, *options, "--epochs", 1, "--max-lr", 0.01, "--cache", "off",
                   "--out", os.path.join(out, "run"), "--json", "--quiet"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{command}: status {done.returncode}\n{done.stderr}")
        epoch, = json.loads(done.stdout)["epochs"]
        return epoch["images_per_second"], epoch["train_loss"]


def ratio(case):
    return statistics.median(two / one for one, two in zip(case["one rank"], case["two ranks"]))


def tables():
    """The table of docs/scale.md, from bench/results/ranks_cpu.json."""
    rows = [[name, *(f"{statistics.median(case[way]):.0f}" for way in WAYS), f"{ratio(case):.2f}"]
            for name, case in results("ranks_cpu")["cases"].items()]
    return {"ranks-cpu": table("training | images/s, 1 rank of 2 threads | images/s, 2 ranks of 1 | ratio", rows)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/onecycle")
    parser.add_argument("--flowers", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", required=True)
    a = parser.parse_args()
    words = [os.path.basename(word) for word in sys.argv[1:]]  # no folder of the machine that measures
    mpirun = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    answer = {"command": shlex.join(["bench/ranks_cpu.py", *words]), "date": datetime.date.today().isoformat(),
              "machine": processor(), "cores": os.cpu_count(), "mpi": mpirun, "load": os.getloadavg()[0], "cases": {}}
    for name, options in CASES.items():
        case = answer["cases"].setdefault(name, {way: [] for way in WAYS})
        for _ in range(a.rounds):
            losses = set()
            for way, (launcher, own) in WAYS.items():
                speed, loss = train(a.binary, a.flowers, options, launcher, own)
                case[way].append(speed)
                losses.add(loss)
            if len(losses) > 1:
                sys.exit(f"{name}: one rank and two ranks trained to different losses: {losses}")
            print(name, case, f"ratio {ratio(case):.3f}", flush=True)
        with open(a.out, "w") as file:
            json.dump(answer, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
