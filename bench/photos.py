"""What the size of photos costs: images/s of ResNet34 at 128 px on JPEGs of 12 megapixels, beside small images of the
same content, beside torchvision's ImageFolder, and beside another build.

    VENV/bin/python bench/photos.py --binary build/onecycle --flowers data/flowers --photos FOLDER --out mine.json \\
        [--before NAME=OTHER/onecycle]
    bench/write_tables.py              # puts the tables on the page, if --out was bench/results/photos.json

Variants take turns, `--rounds` times in one run; figures are medians, ratios those of each round. `first` is the first
epoch of a start, `later` the epochs after it; a `second start` finds what an earlier one has decoded. Loading alone is
`onecycle`'s loader or a DataLoader with as many workers as cores, without any training."""
import argparse
import datetime
import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from markdown_table import results, table
import photos_data

EPOCHS = 3
BATCH = 16
SIDE = 168  # that `--size 128` keeps
FIRST, LATER = slice(0, 1), slice(1, None)
OPTIONS = ["--arch", "resnet34", "--size", "128", "--batch-size", BATCH, "--max-lr", "0.01", "--epochs", EPOCHS,
           "--checkpoint-every", 100000]


def train(binary, data, *options):
    """images/s of each epoch, seconds and processor seconds of the whole, and the most memory that it took in MB."""
    out = tempfile.mkdtemp()
    command = [binary, "train", data, *OPTIONS, *options, "--out", os.path.join(out, "run"), "--quiet", "--json"]
    start = time.time()
    with tempfile.TemporaryFile("w+") as answer:
        process = subprocess.Popen(list(map(str, command)), stdout=answer)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.time() - start
        if status:
            sys.exit(f"{command}: status {status}")
        answer.seek(0)
        epochs = json.load(answer)["epochs"]
    shutil.rmtree(out)
    return {"images_per_second": [e["images_per_second"] for e in epochs], "seconds": seconds,
            "processor_seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss * 1024 / 1e6}


IMAGE_FOLDER = """
import sys, time
import torch, torchvision
from torchvision import transforms as T
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
torch.set_num_threads(1)
view = T.Compose([T.RandomResizedCrop(128, scale=(0.35, 1)), T.RandomHorizontalFlip(), T.ToTensor(),
                  T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
data = ImageFolder(sys.argv[1], view)
loader = DataLoader(data, batch_size=16, shuffle=True, drop_last=True, num_workers=int(sys.argv[2]))
start = time.time()
n = sum(len(labels) for _, labels in loader)
print(n / (time.time() - start), torchvision.__version__, torch.__version__)
"""


def image_folder(python, data, workers):
    done = subprocess.run([python, "-c", IMAGE_FOLDER, os.path.join(data, "train"), str(workers)],
                          capture_output=True, text=True, check=True)
    return done.stdout.split()


def processor():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    return found[1] if found else os.uname().machine


def median(runs, epochs):
    """Images per second of these epochs, in all these runs."""
    return statistics.median(v for run in runs for v in run["images_per_second"][epochs])


def write(path, about, training, loading):
    """Medians over the rounds so far, and every run."""
    answer = {**about, "training": {name: {
        "first": median(runs, FIRST), "later": median(runs, LATER),
        "seconds": statistics.median(run["seconds"] for run in runs),
        "processor_seconds": statistics.median(run["processor_seconds"] for run in runs),
        "peak_mb": max(run["peak_mb"] for run in runs)} for name, runs in training.items()},
        "loading": {name: {key: statistics.median(values) for key, values in rates.items()}
                    for name, rates in loading.items()}, "runs": training, "loading_runs": loading}
    with open(path, "w") as file:
        json.dump(answer, file, indent=1)
        file.write("\n")


def tables():
    """The tables of docs/results.md, from bench/results/photos.json."""
    kept = results("photos")
    runs, folder = kept["runs"], kept["loading"]["ImageFolder"]["first"]

    def ratios(name, epochs):
        """Against the later epochs of the small images of the same round, a ratio a round: the machine's load moves."""
        pairs = zip(runs[name], runs["small images"])
        return ", ".join(f"{median([run], epochs) / median([small], LATER):.2f}" for run, small in pairs)

    training = [[name, f"{of['first']:.1f}", f"{of['later']:.1f}", ratios(name, FIRST), ratios(name, LATER),
                 f"{of['processor_seconds']:.1f}", f"{of['peak_mb']:.0f}"] for name, of in kept["training"].items()]
    loading = [[name, *(f"{of[key]:.1f}" if key in of else "-" for key in ("check", "first", "later")),
                f"{of['first'] / folder:.1f}"] for name, of in kept["loading"].items()]
    return {"photos": table("trained on | first epoch | later epochs | first/small, each round | "
                            "later/small, each round | processor s | peak MB", training),
            "photos-loading": table("loaded from | check | first epoch | later epochs | first/ImageFolder", loading)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="build/onecycle")
    parser.add_argument("--loader", default="build/bench/bench_photo_loader")
    parser.add_argument("--before", action="append", default=[], help="NAME=another build, to compare with")
    parser.add_argument("--flowers", required=True)
    parser.add_argument("--photos", required=True, help="where the photos are made; 3 MB each")
    parser.add_argument("--python", default=sys.executable, help="one with torchvision, numpy and Pillow")
    parser.add_argument("--per-class", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", required=True)
    a = parser.parse_args()
    photos_data.photos(a.flowers, a.photos, {"train": a.per_class, "val": max(1, a.per_class // 10)}, SIDE)
    photos, small = os.path.join(a.photos, "photos"), os.path.join(a.photos, "small")
    training, loading = {}, {}
    words = [re.sub(r"/\S*/", "", word) for word in sys.argv[1:]]  # no folder of the machine that measures
    about = {"command": shlex.join(["bench/photos.py", *words]), "date": datetime.date.today().isoformat(),
             "machine": processor(), "cores": os.cpu_count(), "load": [], "versions": {},
             "options": list(map(str, OPTIONS)), "per_class": a.per_class, "classes": 5}

    def take(name, run):
        training.setdefault(name, []).append(run)
        print(name, [round(x, 1) for x in run["images_per_second"]], round(run["peak_mb"]), "MB", flush=True)
        write(a.out, about, training, loading)  # after each: a break leaves those before it

    for _ in range(a.rounds):
        about["load"].append(os.getloadavg()[0])
        for other in a.before:
            name, binary = other.split("=", 1)
            take(f"{name}, photos", train(binary, photos))
        take("small images", train(a.binary, small, "--cache", "off"))
        take("photos in memory", train(a.binary, photos, "--cache", "off"))
        cache = tempfile.mkdtemp()
        take("photos, file cache", train(a.binary, photos, "--cache", cache))
        take("photos, file cache, second start", train(a.binary, photos, "--cache", cache))
        for name, data, where in (("small, memory", small, "off"), ("photos, memory", photos, "off"),
                                  ("photos, file", photos, cache), ("photos, file, second start", photos, cache)):
            done = subprocess.run([a.loader, data, where, "128", str(os.cpu_count())], capture_output=True, text=True,
                                  check=True)
            for key, value in json.loads(done.stdout).items():
                loading.setdefault(name, {}).setdefault(key, []).append(value)
        shutil.rmtree(cache)
        rate, torchvision, torch = image_folder(a.python, photos, os.cpu_count())
        loading.setdefault("ImageFolder", {}).setdefault("first", []).append(float(rate))
        about["versions"] = {"torchvision": torchvision, "torch": torch}
        print({name: {key: round(values[-1], 1) for key, values in rates.items()} for name, rates in loading.items()},
              flush=True)
        write(a.out, about, training, loading)


if __name__ == "__main__":
    main()
