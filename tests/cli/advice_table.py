"""The rows of test_advice.py: what provokes a message, what it says, and its advice as commands."""
import fcntl
import gzip
import json
import os
import re
import shutil
import struct
import tarfile
from dataclasses import dataclass
from typing import Callable, Optional


@dataclass
class Row:
    provoke: str
    code: int
    says: str  # a pattern of what is printed
    advice: tuple = ()  # commands that do what it says: each must end with `then`
    then: int = 0
    typed: bool = False  # the commands are those that the message prints to be typed
    free: bool = False  # the advice leaves something to choose, such as a smaller number
    before: Optional[Callable] = None  # of the folder: makes what provokes
    after: Optional[Callable] = None  # of the folder: does what is advised and is no command
    gone: str = ""  # a pattern that following the advice makes go away
    interrupt_when: str = ""  # SIGINT comes when a file of this name is there


# Places without a row: (file, part of the text): why.
EXCUSED = {
    ("device/cuda/", ""): "needs a GPU",
    ("device/ranks_join.cpp", ""): "a job of ranks is needed: tests/ranks/test_transport.py",
    ("cli/train.cpp", "use a number of ranks that divides"): "a job of ranks is needed",
    ("train/learner_core.cpp", "use fewer ranks"): "a job of ranks is needed",
    ("train/learner_core.cpp", "use machines of one kind"): "needs ranks that compute differently",
    ("train/options.cpp", "use fewer ranks or a smaller --accumulate"): "a job of ranks is needed",
    ("cli/train.cpp", "use as many ranks as before"): "a job of ranks is needed: tests/ranks/test_sync_batch_norm.py",
    ("ops/cuda/plan_search.cpp", ""): "needs a GPU",
    ("ops/cuda/switches.cpp", ""): "needs a build with CUDA",
    ("cli/main.cpp", "use a smaller --batch-size or --size"): "every allocation that can be large has its own message",
    ("cli/main.cpp", "this is a fault of the program"): "there is no known way",
    ("cli/main.cpp", " lists them all"): "of an argument too many: see plan more",
    ("cli/main.cpp", "onecycle --help"): "as above",
    ("report/find_trials.cpp", ""): "tests/report/test_find_report.cpp has each outcome",
    ("schedule/range_test_analysis.cpp", "the loss left at once"): "tests/schedule/test_range_test_analysis.cpp",
    ("train/evaluator.cpp", "5 is the default"): "of the library alone: predict checks --top before",
    ("cli/eval.cpp", "give other images, or use --all"): "tests/cli/test_eval_predict.cpp",
    ("cli/train.cpp", "put it back as it was and continue with"): "a file fails in mid-training in tests/train",
    ("cli/train.cpp", ", or without it"): "as above",
    ("cli/train.cpp", "onecycle {} --resume {}"): "as above",
    ("train/evaluator.cpp", "put them back as they were"): "every file fails in mid-evaluation in tests/train",
    ("train/memory_need.cpp", ""): "tests/train/test_memory_need.cpp says how much is free and follows it",
    ("train/fault_record.cpp", "start a new run"): "of checkpoints whose digest is right but which were never written",
    ("train/recorded_images.cpp", "use another checkpoint"): "as above",
    ("train/training_progress.cpp", "put them back as they were"): "of checkpoints of an older version, without a list of images",
    ("formats/torch_reader.cpp", ""): "converting needs PyTorch: tests/formats/test_torch_file.cpp",
    ("report/profile_text.cpp", "cannot be trusted"): "tests/cli/test_profile.cpp makes the load",
    ("cli/main.cpp", "--help shows the form"): "there is no known way: what CLI11 refuses has its own message",
    ("core/file.cpp", "free some space"): "a full disk is simulated in tests/core/test_file.cpp",
    ("core/file.cpp", "remove files of yours"): "a quota is simulated there",
    ("core/file.cpp", "choose a place that can be written"): "a read-only disk needs to be mounted",
    ("core/file.cpp", "check who owns it"): "root may do everything",
    ("core/file.cpp", "raise the limit of open files"): "simulated there",
    ("core/file.cpp", "check the disk and the cable"): "simulated there",
    ("store/run_folder.cpp", "put the folder that it leads to"): "tests/store/test_run_folder.cpp makes such links",
    ("core/file.cpp", "let no other program change it"): "simulated there",
    ("data/tar.cpp", "make it again with tar"): "of archives that no program writes",
    ("data/tar.cpp", "give a tar archive"): "of pipes and folders, which are not taken for shards",
    ("data/tar.cpp", "choose another folder"): "needs libarchive to fail",
    ("data/tar_absent.cpp", ""): "of a build without libarchive",
    ("data/jpeg_stb.cpp", ""): "of a build without libjpeg-turbo",
    ("data/pack.cpp", "rename it"): "a class whose name has two lines",
    ("data/pack.cpp", "free some space"): "needs a full disk",
    ("data/pack.cpp", "check the disk and the memory"): "needs a faulty disk",
    ("data/demo_data.cpp", "check the disk"): "needs a full disk",
    ("data/demo_data.cpp", "name a folder that can be written to"): "root may do everything",
    ("data/image.cpp", " MiB; --max-pixels "): "a file above a GiB is needed",
    ("data/decode_budget.cpp", " of --decode-memory"): "names an option, advises nothing",
    ("data/layout.cpp", "as --valid says"): "names an option, advises nothing",
    ("data/sides.cpp", "left out by --exclude: "): "names an option, advises nothing",
    ("cli/info.cpp", "none: a backbone, for --init"): "names an option, advises nothing",
    ("cli/train.cpp", "put it back as it was, or remove it"): "a file fails in the first steps in tests/train",
    ("cli/train.cpp", ", or go on without it: "): "as above",
    ("report/evaluation_text.cpp", "--svg FILE draws it"): "a narrow terminal is needed",
    ("train/advice.cpp", "no evaluation (--valid-fraction 0)"): "names an option, advises nothing",
    ("train/image_store.cpp", ""): "images that fill half of the memory, or take seconds to decode, are needed",
    ("train/model_info.cpp", "--init-ema"): "of files of PyTorch: tests/formats/test_torch_file.cpp",
    ("formats/weights_recipe.h", ""): "of files of PyTorch, as above",
    ("nn/network.cpp", ""): "of the library alone: --size and --stem are checked before",
    ("device/emulated/missing.cpp", ""): "of the program without the emulated device: scripts/build --quick",
    ("ops/cuda/no_emulated.cpp", ""): "as above",
    ("nn/architecture.cpp", "give Architecture::build one"): "of the library alone",
    ("nn/architecture.cpp", "use --head linear"): "of the library alone: those that are built in have both",
    ("nn/architecture.cpp", "use a larger --size"): "of the library alone: --size is checked before",
    ("nn/architecture.cpp", "begin with input"): "of the library alone",
    ("nn/architecture.cpp", "end with linear()"): "of the library alone",
    ("train/stages.cpp", "leave it out"): "of the library alone: networks that are built in have parts",
    ("train/model_info.cpp", "give a model of that network"): "of the library alone",
    ("nn/state.cpp", ""): "of the library alone: model files are checked before",
    ("train/advice.cpp", "--size {} would bring it"): "tests/train/test_learner.cpp: a slow machine is needed",
    ("train/fit.cpp", "what --freeze "): "names an option, advises nothing",
    ("train/learner_core.cpp", "use --input stream"): "needs a GPU",
    ("train/learner_core.cpp", "add images"): "of the library alone: open_dataset() refuses before",
    ("train/model_tensors.cpp", "give a complete file"): "of checkpoints that this program does not write",
    ("train/model_tensors.cpp", "give a file of the same architecture"): "as above",
    ("train/options.cpp", "give three, as 0.485"): "of the library alone: text that is no number is refused before",
    ("schedule/policy.cpp", "for example 0.85:0.95 or 0.9"): "of the library alone: parse_momentum() refuses before",
    ("schedule/range_test_analysis.cpp", "give one loss for each rate"): "of the library: read_curve_csv() refuses before",
    ("train/profile.cpp", "cmake --preset shadow"): "advises a build of its own, which scripts/check_kernels makes",
    ("train/profile.cpp", "add --device emulated"): "in that build alone: tests/cli/test_profile_counts.cpp",
    ("train/rate_trial.cpp", ""): "of the library alone: --verify-steps is checked before",
    ("store/run_folder.cpp", "free some space"): "a full disk is simulated in tests/store/test_run_folder.cpp",
    ("store/run_place.cpp", "free some space"): "as above",
    ("train/run_record.cpp", "continue it where it is now"): "a folder is moved in tests/cli/test_run_faults.cpp",
    ("store/run_folder.cpp", "give the folder of a run that was started"): "of the library: options_of_run() refuses",
}

SMALL = "--arch resnet18 --size 32 --batch-size 4"
CURVE = "find --from-csv curve.csv"


def prepare(program):
    """The folders and files that the rows use."""
    folder = program.folder

    def run(command):
        code, printed = program(command)
        assert code == 0, (command, printed)

    run("demo-data data --classes 2 --images 6 --size 40")
    run(f"train data {SMALL} --epochs 1 --max-lr 0.01 --out runs/photos")
    run("export runs/photos --to model.safetensors")
    lines = ["lr,loss"] + [f"{1e-6 * 10 ** (k / 12.5)},{2 - k / 60 if k < 70 else 1 + (k - 70) ** 2 / 50}"
                           for k in range(100)]
    (folder / "curve.csv").write_text("\n".join(lines) + "\n")
    # What the messages use as examples.
    shutil.copytree(folder / "data", folder / "photos")
    shutil.copy(next((folder / "data/rings").glob("*.jpg")), folder / "cat.jpg")
    shutil.copy(folder / "cat.jpg", folder / "IMAGE")


# For other_words.cpp: verbs that are tried in this order, and values that their options take.
VERBS_WITH_OPTIONS = [("find", "--from-csv curve.csv"), ("profile", "--predict h200"), ("predict", "none.jpg"),
                      ("eval", "none"), ("export", "none"), ("demo-data", "none"), ("train", "none")]
VALUES = {"--max-lr": "0.1", "--div": "25", "--final-div": "1e4", "--steps": "50", "--epochs": "3",
          "--optimizer": "adamw", "--eps": "1e-6", "--beta2": "0.99", "--weight-decay": "0.01", "--clip-norm": "1",
          "--accumulate": "2", "--ema": "0.99", "--label-smoothing": "0.1", "--batch-size": "8", "--threads": "1",
          "--size": "64", "--mixup": "0.2", "--cutmix": "1", "--valid-fraction": "0.3", "--valid": "data",
          "--arch": "resnet18", "--dropout": "0.4", "--classes": "3", "--top": "3", "--checkpoint-every": "10",
          "--seed": "1", "--momentum": "0.9", "--init": "random", "--model": "runs/photos", "--to": "out.onnx"}


def option_rows():
    """Options out of range: the advice replaces the value. A curve is analysed, which takes no time."""
    for option, wrong, advised, says in [
            ("--valid-fraction", "2", "0.2", "below 1"), ("--max-bad", "2", "0.05", "between 0 and 1"),
            ("--arch", "vgg16", "resnet50", "no such choice"), ("--size", "20", "224", "between 32 and 4096"),
            ("--max-pixels", "0", "178956970", "between 1 and"),
            ("--crop-pct", "2", "0.875", "between 0.1 and 1"), ("--std", "1,0,1", "0.229,0.224,0.225", "above 0"),
            ("--std", "1,1", "0.5,0.5,0.5", "not of the right form"), ("--mean", "1", "0.5,0.5,0.5", "right form"),
            ("--dropout", "1", "0.5", "below 1"), ("--freeze-epochs", "-1", "1", "such stage"),
            ("--lr-mult", "0", "100", "above 0"), ("--batch-size", "1", "64", "between 2 and 65536"),
            ("--weight-decay", "-1", "1e-4", "0 or more"), ("--beta2", "1", "0.99", "below 1"),
            ("--eps", "0", "1e-5", "above 0"), ("--trust-coefficient", "0", "0.001", "above 0"), ("--mixup", "-1", "0.4", "up to 1000"),
            ("--cutmix", "-1", "1", "up to 1000"), ("--label-smoothing", "1", "0.1", "below 1"),
            ("--clip-norm", "-1", "1", "or more"), ("--accumulate", "0", "1", "between 1 and 65536"),
            ("--ema", "1", "0.999", "below 1"), ("--input", "disk", "stream", "no such choice"),
            ("--optimizer", "lion", "lamb", "no such choice"), ("--head", "mlp", "fastai", "no such choice"),
            ("--freeze", "10", "layer2", "no such choice"), ("--stem", "tiny", "small", "no such choice"),
            ("--class-weights", "heavy", "balanced", "right form"), ("--augment", "heavy", "strong", "unknown"),
            ("--bad-images", "maybe", "skip", "unknown value"), ("--progress", "fancy", "plain", "unknown mode"),
            ("--max-lr", "-1", "0.01", "above 0"), ("--max-lr", "fast", "0.01", "not a number"),
            ("--epochs", "0", "1", "1 or more"), ("--epochs", "x", "1", "not a whole number"),
            ("--seed", "-1", "0", "not a whole number"), ("--seed", "99999999999999999999", "7", "too large"),
            ("--sizes", "64:0", "64:2,128:3", "number of epochs"), ("--sizes", "64", "64:2,128:3", "not a list"),
            ("--sizes", "64:2:3", "64:2,128:3", "not a list"),
            ("--momentum", "0.9:0.8", "0.85:0.95", "LOW:HIGH"), ("--anneal", "zigzag", "linear", "no such curve"),
            ("--ramp", "square", "fastai", "no such ramp"), ("--start-lr", "0", "1e-7", "above 0"),
            ("--end-lr", "1e-9", "10", "above --start-lr"), ("--steps", "1", "100", "2 or more"),
            ("--pct-start", "2", "0.25", "between 0 and 1"), ("--div", "0", "25", "above 0"),
            ("--final-div", "0", "1e4", "above 0"), ("--div", "1e-320", "25", "infinite"),
            ("--final-div", "1e-320", "1e4", "infinite"), ("--policy", "sine", "flat-cos", "no such policy"),
            ("--policy", "steps:a", "steps:30,60,90@0.1", "write it as"),
            ("--policy", "restarts:0", "restarts:1,2", "write it as"),
            ("--policy", "knots:0", "knots:0=0,5=1,24=0", "write it as"),
            ("--device", "tpu", "cpu", "no such choice"), ("--device", "cuda:0", "auto", "no such choice"),
            ("--precision", "fp8", "fp32", "no such choice"),
            ("--sweep", "x=1,2", "weight-decay=0,1e-4,1e-3", "no such choice"),
            ("--sweep", "0,1", "weight-decay=0,1e-4,1e-3", "not of the form")]:
        free = wrong in ("99999999999999999999",)
        if option == "--sweep":
            yield Row(f"find data {SMALL} --steps 2 --out s {option} {wrong}", 2, says,
                      (f"find data {SMALL} --steps 2 --out s {option} {advised}",), before=removed("s"))
            continue
        yield Row(f"{CURVE} {option} {wrong}", 2, says, (f"{CURVE} {option} {advised}",), free=free)
    for wrong, says, advised in [
            ("--pct-start 0.6 --policy onecycle:smith", "as it goes up",
             "--pct-start 0.5 --policy onecycle:smith"),
            ("--threads -1", "all cores", ""),
            ("--arch resnet9 --stem small", "one stem only", "--arch resnet9"),
            ("--nesterov --optimizer adam", "only sgd", "--nesterov"),
            ("--nesterov --optimizer adam", "only sgd", "--optimizer adam"),
            ("--nesterov --momentum 0", "above 0", "--nesterov"),
            ("--freeze-bn", "nothing is frozen", "--freeze-bn --freeze body"), ("--freeze-bn", "nothing is", ""),
            ("--sizes 64:2,128:3 --epochs 6", "sum to 5", "--sizes 64:2,128:3 --epochs 5"),
            ("--sizes 64:2,128:3 --epochs 6", "sum to 5", "--sizes 64:2,128:3"),
            ("--sizes 64:2,128:3 --size 64", "every size", "--sizes 64:2,128:3"),
            ("--div 10 --policy cosine", "no such option", "--policy cosine"),
            ("--div 10 --policy cosine", "no such option", "--div 10 --policy onecycle"),
            ("--pct-start 0.2 --policy cosine", "no such option", "--pct-start 0.2 --policy flat-cos"),
            ("--final-div 10 --policy cosine", "no such option", "--final-div 10 --policy flat-cos"),
            ("--anneal cos --policy cosine", "no such option", "--anneal cos --policy onecycle:pytorch"),
            ("--batch-size 65536 --size 4096", "no memory holds", "--batch-size 64 --size 4096"),
            ("--three-phase", "no such option", "--three-phase --policy onecycle:pytorch"),
            ("--tta=7", "no such option", ""), ("--nesterov=7", "takes no value", "--nesterov"),
            ("--out ''", "the value is empty", ""), ("--config ''", "the value is empty", ""),
            ("--valid ''", "the value is empty", ""),
            ("--precision bf16 --device cpu", "computes in fp32", "--device cpu"),
            ("--precision tf32 --device emulated", "no tensor cores", "--precision bf16 --device emulated"),
            ("--epochs", "exactly one value", "--epochs 3"), ("--smoothed=1", "takes no value", "--smoothed"),
            ("--policy restarts:0.000001 --epochs 900", "more than", "--policy restarts:1,2 --epochs 900"),
            ("--epochs 1000000000 --epochs 9000000000000", "more than|too large", "--epochs 10")]:
        code = 7 if re.search("bf16|tf32", wrong) else 2
        yield Row(f"{CURVE} {wrong}", code, says, (f"{CURVE} {advised}",),
                  free=wrong == "--epochs" or "900" in wrong or "65536" in wrong or "=" in wrong
                  or wrong == "--three-phase")


def removed(*names):
    def remove(folder):
        for name in names:
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).unlink(missing_ok=True)
    return remove


def copied(source, target):
    return lambda folder: shutil.copytree(folder / source, folder / target, dirs_exist_ok=True)


def moved(source, target):
    def move(folder):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (folder / source).rename(folder / target)
    return move


def copied_as(source, target):
    def copy(folder):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / source, folder / target)
    return copy


def written(name, text):
    def write(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return write


def linked(name, target):
    def link(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    return link


def one_by_one(*steps):
    def do(folder):
        for step in steps:
            step(folder)
    return do


def edited_model(change):
    """Makes edited.safetensors: model.safetensors without its metadata, after change(header, data)."""
    def make(folder):
        content = (folder / "model.safetensors").read_bytes()
        length = struct.unpack("<Q", content[:8])[0]
        header, data = json.loads(content[8:8 + length]), bytearray(content[8 + length:])
        header.pop("__metadata__")
        change(header, data)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        (folder / "edited.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return make


def values_of(tensor, number, count=None):
    def change(header, data):
        begin, end = header[tensor]["data_offsets"]
        n = count or (end - begin) // 4
        data[begin:begin + 4 * n] = struct.pack("<f", number) * n
    return change


def described(**metadata):
    def change(header, data):
        header["__metadata__"] = metadata
    return change


def emptied(header, data):
    header.clear()
    data.clear()


def renamed_tensor(header, data):
    header["layer1.0.conv9.weight"] = header.pop("layer1.0.conv2.weight")


def flattened_stem(header, data):
    header["conv1.weight"]["shape"] = [64 * 3, 49]


def flattened_classifier(header, data):
    header["fc.weight"]["shape"] = [2 * 512]


def find(folder, more=""):
    return f"find {folder} {SMALL} --steps 2 {more}".strip()


def folder_rows():
    """Folders that cannot be trained on."""
    good = find("data")
    yield Row(find("missing"), 3, "no such folder", (good,), free=True)
    yield Row(find("curve.csv"), 3, "is a file", (good,), free=True)

    def sort_into_classes(folder):
        for k, image in enumerate(sorted((folder / "flat").iterdir())):
            moved(image, "flat/" + "ab"[k % 2] + "/" + image.name)(folder)
    yield Row(find("flat"), 3, "no class folders; found 6 images", before=copied("data/rings", "flat"),
              after=sort_into_classes, advice=(find("flat"),))
    yield Row(find("half"), 3, "has val/ but no train/",
              before=one_by_one(copied("data", "half/val"), copied("data", "half/rest")),
              after=moved("half/rest", "half/train"), advice=(find("half"),))
    yield Row(find("half2"), 3, "has val/ but no train/", before=copied("data", "half2/val"),
              advice=(find("half2/val"),), free=True)
    yield Row(find("sides"), 3, "class 'more' is not among the training classes",
              before=one_by_one(copied("data", "sides/train"), copied("data", "sides/val"),
                                copied("data/rings", "sides/val/more")),
              after=removed("sides/val/more"), advice=(find("sides"),))
    one_bad = one_by_one(copied("data", "onebad"), written("onebad/rings/text.jpg", "<html>"))
    yield Row(find("onebad", "--bad-images fail"), 3, "cannot use image", before=one_bad,
              advice=(find("onebad", "--bad-images skip --max-bad 8%"),))
    yield Row(find("onebad", "--bad-images fail"), 3, "cannot use image", before=one_bad,
              after=removed("onebad/rings/text.jpg"), advice=(find("onebad", "--bad-images fail"),))
    yield Row(find("onebad"), 3, "cannot be used", before=one_bad, advice=(find("onebad", "--max-bad 8%"),))
    two_bad = one_by_one(one_bad, written("onebad/rings/empty.jpg", ""))
    yield Row(find("onebad", "--bad-images fail"), 3, "2 of 14", before=two_bad,
              advice=(find("onebad", "--bad-images skip --max-bad 15%"),))
    yield Row(find("allbad"), 3, "4 of 4", (good,), free=True, before=one_by_one(
        *(written(f"allbad/{c}/{k}.jpg", "text") for c in "ab" for k in range(2))))
    yield Row(find("hollow"), 3, "no usable image", (find("hollow"),),
              before=one_by_one(written("hollow/a/x.txt", ""), written("hollow/b/x.txt", "")),
              after=one_by_one(copied("data/rings", "hollow/a"), copied("data/checkers", "hollow/b")))
    third = one_by_one(copied("data", "third"), written("third/more/x.txt", ""))
    yield Row(find("third"), 3, "a class without a usable image", (find("third"),), before=third,
              after=removed("third/more"))
    yield Row(find("alone"), 3, "only one class", (good,), before=copied("data/rings", "alone/a"), free=True)
    yield Row(find("pair"), 3, "no image for evaluation", (find("pair"),), before=one_by_one(
        copied("data", "pair"), *(removed(f"pair/{c}/000{k}.jpg", f"pair/{c}/000{k}.png")
                                  for c in ("rings", "checkers") for k in range(1, 6))),
        after=copied("data", "pair"))
    yield Row(find("nobody"), 3, "no image for evaluation", (find("nobody"),), before=one_by_one(
        copied("data", "nobody/train"), written("nobody/val/rings/x.txt", "")),
        after=copied("data/rings", "nobody/val/rings"))
    yield Row("demo-data", 2, "missing argument: DIR", ("demo-data demo/ --images 2",), free=True,
              before=removed("demo"))
    yield Row("demo-data data", 5, "not empty", ("demo-data new --images 2",), before=removed("new"), free=True)
    yield Row("demo-data curve.csv/new", 5, "cannot make folder", ("demo-data new --images 2",), free=True,
              before=removed("new"))
    yield Row("demo-data new --classes 1", 2, "between 2 and", ("demo-data new --images 2 --classes 2",), free=True,
              before=removed("new"))


def tarred(archive, *names, folder="data", cut=None, form=""):
    """An archive of what lies in a folder, perhaps without its end."""
    def make(place):
        (place / archive).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(place / archive, "w" + form) as tar:
            for name in names or sorted(p.name for p in (place / folder).iterdir()):
                tar.add(place / folder / name, name)
        if cut:
            (place / archive).write_bytes((place / archive).read_bytes()[:cut])
    return make


def shard_rows():
    """Archives of images, and what makes them."""
    yield Row(find("cut.tar"), 3, "it is cut off", (find("cut.tar"),), before=tarred("cut.tar", cut=3000),
              after=tarred("cut.tar"))
    yield Row(find("parts"), 3, "it is cut off", (find("parts", "--exclude bad.tar"),),
              before=one_by_one(tarred("parts/good.tar"), tarred("parts/bad.tar", cut=3000)))
    for text, says in [("", "it is empty"), ("text " * 500, "it is no tar archive")]:
        yield Row(find("parts"), 3, says, (find("parts", "--exclude bad.tar"),),
                  before=one_by_one(tarred("parts/good.tar"), written("parts/bad.tar", text)))

    def unpack(place):
        (place / "small.tar").write_bytes(gzip.decompress((place / "small.tar.gz").read_bytes()))
    yield Row(find("small.tar.gz"), 3, "it is compressed \\(gzip\\).*gunzip < small.tar.gz > small.tar",
              (find("small.tar"),), before=tarred("small.tar.gz", form=":gz"), after=unpack)

    def unpack_in_folder(place):
        (place / "parts/zipped-unpacked.tar").write_bytes(gzip.decompress((place / "parts/zipped.tar").read_bytes()))
        (place / "parts/zipped.tar").unlink()
    yield Row(find("parts"), 3, "gunzip < .*zipped.tar > .*zipped-unpacked.tar && rm .*zipped.tar", (find("parts"),),
              before=one_by_one(removed("parts"), tarred("parts/good.tar", "rings"),
                                tarred("parts/zipped.tar", "checkers", form=":gz")),
              after=unpack_in_folder)

    def damage(place):
        tarred("damaged.tar")(place)
        with tarfile.open(place / "damaged.tar") as tar:
            second = tar.getmembers()[2].offset
        data = bytearray((place / "damaged.tar").read_bytes())
        data[second:second + 512] = b"x" * 512
        (place / "damaged.tar").write_bytes(data)
    yield Row(find("damaged.tar"), 3, "it is damaged", (find("damaged.tar"),), before=damage,
              after=tarred("damaged.tar"))
    both = one_by_one(copied("data", "both"), tarred("both/copy.tar"))
    yield Row(find("both"), 3, "lie beside images", (find("both", "--exclude '*.tar'"),), before=both)
    yield Row(find("both"), 3, "lie beside images", (find("both"),), before=both, after=removed("both/copy.tar"))

    def numbered(place):
        (place / "numbered").mkdir(exist_ok=True)
        with tarfile.open(place / "numbered/all.tar", "w") as tar:
            for k, image in enumerate(sorted((place / "data").rglob("*.*"))):
                tar.add(image, f"{k}{image.suffix}")
                (place / "number").write_text(str(k % 2))
                tar.add(place / "number", f"{k}.cls")
    yield Row(find("numbered"), 3, "the line is empty", (find("numbered"),),
              before=one_by_one(numbered, written("numbered/classes.txt", "a\n\nb\n")),
              after=written("numbered/classes.txt", "a\nb\n"))
    yield Row(find("numbered"), 3, "stands there twice", (find("numbered"),),
              before=one_by_one(numbered, written("numbered/classes.txt", "a\na\n")),
              after=removed("numbered/classes.txt"))
    yield Row("pack data", 2, "missing option: -o", ("pack data -o shards/",), free=True, before=removed("shards"))
    yield Row("pack data -o shards --size 0", 2, "must lie between", ("pack data -o shards --size 256",), free=True,
              before=removed("shards"))
    yield Row("pack data -o shards --size 70000", 2, "must lie between", ("pack data -o shards --size 256",), free=True,
              before=removed("shards"))
    yield Row("pack data -o shards --quality 900", 2, "--quality 900: it must lie", ("pack data -o shards",), free=True,
              before=removed("shards"))
    yield Row("pack data -o shards --shard-size 12", 2, "--shard-size 12: it must be", ("pack data -o shards",),
              free=True, before=removed("shards"))
    yield Row("pack data -o photos", 5, "not empty", ("pack data -o shards",), free=True, before=removed("shards"))
    yield Row("pack data -o odd", 5, "is damaged", ("pack data -o shards",), free=True,
              before=one_by_one(removed("shards"), written("odd/pack.json", "{")))

    def packed(place):
        removed("packed")(place)
        shutil.copytree(place / "shards", place / "packed")
    yield Row("pack data -o packed --size 20", 5, "other images or options", ("pack data -o packed --size 20",),
              before=packed, after=removed("packed"))


def label_rows(program):
    """Labels from a table or from the names of files."""
    images = sorted(path.relative_to(program.folder / "data") for path in (program.folder / "data").rglob("*.*"))
    table = "file,label\n" + "".join(f"{image},{image.parent}\n" for image in images)
    splits = "file,label,split\n" + "".join(f"{image},{image.parent},{'val' if k % 3 == 0 else 'train'}\n"
                                            for k, image in enumerate(images))
    by_table = find("data", "--labels t.csv")

    def bytes_written(content):
        return lambda folder: (folder / "t.csv").write_bytes(content)
    for content, says in [
            (table.encode("utf-16"), "UTF-16 text"), (b"", "the file is empty"), (b"rate,value\n1,2\n", "no column"),
            (b"file,label\ncat.jpg,\n", "is empty"), (b"file,label\ncat.jpg,a\0\n", "zero byte"),
            (b"file,label,split\ncat.jpg,a,somewhere\n", "is no split"), (b"file,label\n", "no row follows"),
            (f"file,label\n{images[0].name},a\n".encode(), "may be"),
            (f"file,label\n{images[0]},a\n{images[0]},b\n".encode(), "one label and one split"),
            (b"file,label\nnone.jpg,a\n", "no file of the table is there"),
            (splits.replace(",train\n", ",val\n").encode(), "no image is of the split train")]:
        yield Row(by_table, 3, says, (by_table,), before=bytes_written(content), after=written("t.csv", splits))
    lost = table + "".join(f"lost{k}.jpg,third\n" for k in range(2))
    yield Row(by_table + " --max-bad 0.5", 3, "class 'third' has no usable image", (by_table + " --max-bad 0.5",),
              before=written("t.csv", lost), after=written("t.csv", table))
    yield Row(by_table + " --valid data", 2, "column split", (by_table,), before=written("t.csv", splits))
    yield Row(by_table + " --valid data", 2, "column split", (by_table + " --valid data",),
              after=written("t.csv", table))

    def named_by_class(folder):
        (folder / "named").mkdir(exist_ok=True)
        for k, image in enumerate(images):
            shutil.copy(folder / "data" / image, folder / f"named/{image.parent}_{k}.jpg")
    by_name = find("named", "--label-from '^(.+)_[0-9]+[.]jpg$'")
    yield Row(find("named", "--label-from '('"), 2, "no regular expression", (by_name,), before=named_by_class)
    yield Row(find("named", "--label-from '^.+_[0-9]+[.]jpg$'"), 2, "it has no group", (by_name,))
    yield Row(by_name + " --labels t.csv", 2, "both say the labels", (by_name, by_table), free=True)
    yield Row(find("named", "--label-from '(x+)[.]bmp$'"), 3, "every image is not matched", (by_name,), free=True)
    yield Row(find("void", "--label-from '(x+)'"), 3, "found no image", (by_name,), free=True,
              before=written("void/x.txt", ""))
    yield Row(find("data", "--max-pixels 100"), 3, "--max-pixels 1600 allows it", (find("data", "--max-pixels 100000"),),
              free=True)


def without_classifier(header, data):
    gone = [header.pop(name)["data_offsets"] for name in ("fc.weight", "fc.bias")]
    for begin, end in sorted(gone, reverse=True):
        del data[begin:end]
        for name in header:
            if header[name]["data_offsets"][0] >= end:
                header[name]["data_offsets"] = [place - (end - begin) for place in header[name]["data_offsets"]]


def class_name_rows():
    """The names of classes of a model that has none."""
    use = "eval data --model edited.safetensors --classes names.txt"
    good = written("names.txt", "checkers\nrings\n")
    unnamed = edited_model(lambda header, data: None)
    for text, says, code in [("", "the file is empty", 3), ("a\n\nb\n", "every line is a class", 3),
                             ("a\na\n", "stands in line 1 too", 3), ("a\x01\nb\n", "not UTF-8", 3),
                             ("a\nb\nc\n", "it has 3 names", 4)]:
        yield Row(use, code, says, (use,), before=one_by_one(unnamed, written("names.txt", text)), after=good)
    yield Row("eval data --model runs/photos --classes names.txt", 4, "names its classes itself",
              ("eval data --model runs/photos",), before=written("names.txt", "a\nb\n"))
    yield Row("eval data --model edited.safetensors", 0, "--classes FILE names them otherwise", (use,), free=True,
              before=good, gone="names no classes")
    natural = "eval counted --model edited.safetensors"
    yield Row(natural, 0, "'10' stands before '9'", (natural + " --classes names.txt",), free=True,
              before=one_by_one(copied("data/checkers", "counted/10"), copied("data/rings", "counted/9"),
                                written("names.txt", "9\n10\n")), gone="stands before")
    body = edited_model(without_classifier)
    yield Row("eval data --model edited.safetensors", 4, "it has no classifier",
              (f"finetune data --init edited.safetensors {SMALL} --epochs 1 --max-lr 0.01 --out tuned",), free=True,
              before=body)
    start = find("data", "--init edited.safetensors")
    yield Row(start + " --classes names.txt", 4, "no classifier whose classes", (start,))
    yield Row(find("data", "--init-ema"), 2, "file of --init", (find("data"),))
    yield Row("predict cat.jpg --model runs/photos --max-pixels 0", 2, "1 or more",
              ("predict cat.jpg --model runs/photos --max-pixels 178956970",))


def model_rows():
    """Files that are no models, and models that do not fit."""
    good = "eval data --model runs/photos"
    yield Row("eval data --model missing", 4, "no such file", (good,), free=True)
    yield Row("eval data --model /dev/null", 4, "not a regular file", (good,), free=True)
    yield Row("eval data --model data", 4, "folder without a checkpoint",
              ("eval data --model model.safetensors", good), free=True)
    yield Row("eval data --model curve.csv", 4, "cannot read model file", (good,), free=True)
    yield Row("eval data --model cut.safetensors", 4, "cannot read model file", (good,), free=True,
              before=lambda folder: (folder / "cut.safetensors").write_bytes(
                  (folder / "model.safetensors").read_bytes()[:-1]))
    yield Row("eval data --model " + "long" * 100, 5, "cannot", (good,), free=True)
    yield Row("eval data", 2, "missing option: --model", (good,))
    yield Row("eval", 2, "DATA", ("eval photos/ --model runs/photos",))
    yield Row(good, 0, "--all: all of them", (good + " --all",), free=True)
    use = "eval data --model edited.safetensors"
    faults = [(emptied, "of no network that is built in"),
              (renamed_tensor, "looks like resnet18 but lacks"), (flattened_stem, "has other shapes: conv1.weight"),
              (flattened_classifier, "no classifier has that shape"),
              (described(arch="own", stem="imagenet", head="linear"), "its network 'own' is not built in"),
              (described(arch="resnet9", stem="small", head="linear"), "one that resnet9 does not have"),
              (values_of("fc.weight", float("nan")), "not finite"), (values_of("fc.weight", 3e38), "not finite"),
              (values_of("bn1.running_var", -1.0), "negative variance"),
              (described(size="0"), "its size is out of range"),
              (described(**{"onecycle.format": "99"}), "another version"),
              (described(**{"onecycle.format": "1", "classes": "[[["}), "list of classes is not readable"),
              (described(classes='["a","b","c"]'), "names 3 classes but its head has 2"),
              (described(classes='["a","a"]'), "names a class twice")]
    for change, says in faults:
        yield Row(use, 4, says, (good,), free=True, before=edited_model(change))
    more = copied("data/rings", "three/more")
    yield Row("eval three --model edited.safetensors", 4, "has 2 classes, the folder has 3", (good,), free=True,
              before=one_by_one(copied("data", "three"), more, edited_model(lambda header, data: None)))
    yield Row("eval three --model runs/photos", 4, "has 1 other", (good,), free=True)
    for text in ("lots", "0", "-1G", "1T"):
        yield Row(f"predict data/rings --model runs/photos --decode-memory={text}", 2, "no number of bytes",
                  ("predict data/rings --model runs/photos --decode-memory 500M",
                   "predict data/rings --model runs/photos --decode-memory 2G"), free=True)
    yield Row("info --archs runs/photos", 2, "looks at no file", ("info --archs", "info runs/photos"), free=True)
    init = f"find data {SMALL} --steps 2 --init model.safetensors"
    yield Row(init.replace("resnet18", "resnet34"), 4, "it is a resnet18 with the imagenet stem", (init,))
    yield Row("eval data --model runs/photos --top-losses -1", 2, "0 or more",
              ("eval data --model runs/photos --top-losses 10",))
    yield Row("predict", 2, "PATH", ("predict cat.jpg --model runs/photos",))
    yield Row("predict cat.jpg --model runs/photos --top 0", 2, "1 or more",
              ("predict cat.jpg --model runs/photos --top 5",))
    yield Row("predict curve.csv --model runs/photos", 3, "cannot predict", ("predict cat.jpg --model runs/photos",),
              free=True)
    yield Row("predict curve.csv missing --model runs/photos", 3, "none of these 2",
              ("predict cat.jpg --model runs/photos",), free=True)
    yield Row("predict - --model runs/photos < list.txt", 3, "names no image",
              ("predict - --model runs/photos < list.txt",), before=written("list.txt", ""),
              after=written("list.txt", "cat.jpg\n"))
    yield Row("info", 2, "FILE", ("info runs/photos",))
    yield Row("export", 2, "missing argument: M", ("export runs/photos --to photos.onnx",),
              before=removed("photos.onnx"))
    clean = removed("FILE.onnx", "FILE.safetensors", "out.safetensors")
    yield Row("export runs/photos", 2, "missing option: --to", ("export runs/photos --to out.safetensors",), free=True,
              before=clean)
    yield Row("export runs/photos --to out.txt", 2, "tells no format",
              ("export runs/photos --to FILE.safetensors", "export runs/photos --to FILE.onnx"), before=clean)
    yield Row("export runs/photos --to out.safetensors --keep-bn", 2, "no graph",
              ("export runs/photos --to out.safetensors", "export runs/photos --keep-bn --to FILE.onnx"), before=clean)
    yield Row("export runs/photos --to model.safetensors", 5, "file exists",
              ("export runs/photos --to out.safetensors", "export runs/photos --to model.safetensors --force"),
              free=True, before=clean)
    yield Row("export runs/photos --to x.onnx", 5, "it is a folder", ("export runs/photos --to FILE.onnx",), free=True,
              before=one_by_one(clean, written("x.onnx/y", "")))
    drawn = "eval data --model runs/photos --svg"
    yield Row(f"{drawn} names.txt", 5, "onecycle did not make it",
              (f"{drawn} other.svg", f"{drawn} names.txt --force"), free=True, before=written("names.txt", "of mine"))
    yield Row(f"{drawn} /dev/null", 5, "no regular file", (f"{drawn} other.svg",), free=True)
    yield Row(f"{drawn} link.svg", 5, "it is a link", (f"{drawn} other.svg",), free=True,
              before=linked("link.svg", "other.svg"))


def curve_rows():
    header = "lr,loss\n"
    good = (header + "1e-4,2\n1e-3,1\n", "find --from-csv c.csv")
    for text, says in [("rate,value\n1,2\n", "no column"), ("", "file is empty"), (header, "no rows"),
                       (header + "1e-3,many\n", "not a number"), (header + "1e-3\n", "is missing"),
                       (header + "-1,1\n", "not a number above 0"), (header + "1,1\n1e-4,1\n", "not above the one")]:
        yield Row("find --from-csv c.csv", 3, says, (good[1],), before=written("c.csv", text),
                  after=written("c.csv", good[0]))
    yield Row(find("data", "--epochs 1000000 --steps 10"), 0, "fewer --epochs or a smaller --arch",
              (find("data", "--epochs 2 --steps 10"),), free=True, gone="smaller --arch would")
    flat = header + "".join(f"{1e-6 * 1.2 ** k},{1.5 + (k * 37 % 11) / 50}\n" for k in range(80))
    yield Row("find --from-csv c.csv", 0, "No clear descent", (find("data", "--epochs 100 --steps 3"),), free=True,
              before=written("c.csv", flat))
    yield Row(find("data", "--smoothed"), 2, "it speaks of", (find("data"),), free=True)
    yield Row(find("data", "--verify --sweep momentum=0.8,0.9"), 2, "several rates",
              (find("data", "--verify --verify-steps 1"),), free=True)
    yield Row(find("data", "--verify --valid-fraction 0"), 2, "nothing is held out",
              (find("data", "--verify --verify-steps 1"), find("data", "--valid-fraction 0")), free=True)
    yield Row(f"find data {SMALL} --steps 40", 0, "Train with it",
              (f"train data {SMALL} --epochs 1 --max-lr 0.01 --out found",), free=True, before=removed("found"))
    yield Row(find("data", "--verify-steps 2"), 2, "--verify", (find("data", "--verify-steps 2 --verify"),))
    yield Row(find("data", "--verify --verify-steps 0"), 2, "below 1", (find("data", "--verify --verify-steps 1"),))
    yield Row(CURVE + " --verify", 2, "runs no test", (CURVE,))
    yield Row("find data --from-csv curve.csv", 2, "runs no test", (CURVE,), free=True)
    yield Row(find("data", "--sweep momentum=2"), 2, "out of range", (find("data", "--sweep momentum=0.8"),), free=True)
    yield Row(find("data", "--accumulate 10"), 2, "an epoch has only", (find("data", "--accumulate 2"),), free=True)
    yield Row(find("data"), 0, "steps in all is too few: --epochs 100", (find("data", "--epochs 100"),), free=True,
              gone="steps in all is too few")
    yield Row(find("data"), 0, "try --stem small", (find("data", "--stem small"),), free=True, gone="try --stem")
    yield Row("find", 2, "DATA", (find("photos/"),), free=True)


def run_rows(program):
    """Runs that are started, stopped, resumed."""
    resume = "train --resume runs/photos"
    yield Row(resume + " --out x", 2, "the run has its own", (resume,))
    yield Row(resume + " --seed 3", 2, "would change the result", (resume,))
    yield Row("train --resume missing", 4, "no run folder", (resume,), free=True)
    def begun(folder):
        (folder / "unborn").mkdir()
        (folder / "unborn/config.json.tmp").write_text("{")
    yield Row("train --resume unborn", 4, "was stopped before it began",
              (f"train data {SMALL} --epochs 1 --max-lr 0.01 --out unborn",), free=True, before=begun)

    def spoil(folder):
        for path in (folder / "runs/spoilt/checkpoints").iterdir():
            path.write_bytes(path.read_bytes()[:-9])
    yield Row("train --resume runs/spoilt", 4, "no checkpoint is whole",
              ("train --config runs/spoilt/config.json --out runs/spoilt-anew",), free=True,
              before=one_by_one(copied("runs/photos", "runs/spoilt"), spoil))
    config = copied("runs/photos", "runs/torn")
    torn = "train --resume runs/torn"

    def changed_seed(folder):
        path = folder / "runs/torn/config.json"
        path.write_text(path.read_text().replace('"seed": 0', '"seed": 5'))
    yield Row(torn, 4, "changed or damaged", (torn,), before=one_by_one(config, written("runs/torn/config.json", "{")),
              after=config)
    yield Row(torn, 2, "--seed would change the result", (torn,), before=one_by_one(config, changed_seed), after=config)
    image = next(path.name for path in sorted((program.folder / "data/rings").iterdir()))
    lose, find_again = moved(f"data/rings/{image}", "kept"), moved("kept", f"data/rings/{image}")
    yield Row(torn, 3, "missing", (torn,), before=lose, after=find_again)
    yield Row(torn, 3, "missing", ("train data --resume runs/torn --bad-images skip --max-bad 1",), free=True,
              before=lose)
    yield Row(torn + " --bad-images fail", 3, "missing", free=True,
              advice=("train data --resume runs/torn --bad-images skip --max-bad 1",))
    yield Row(torn, 3, "no such folder", ("train moved --resume runs/torn",), free=True,
              before=one_by_one(find_again, moved("data", "moved")))
    yield Row(torn, 3, "none of its images is here", (torn,),
              before=one_by_one(written("data/rings/no.txt", ""), copied_as("cat.jpg", "data/rings/a.jpg"),
                                copied_as("cat.jpg", "data/rings/b.jpg"), copied_as("cat.jpg", "data/checkers/a.jpg"),
                                copied_as("cat.jpg", "data/checkers/b.jpg")),
              after=one_by_one(removed("data"), moved("moved", "data")))
    yield Row(torn, 3, "now it has an evaluation side", (torn,),
              before=one_by_one(copied("data", "data/train"), copied("photos", "data/val")),
              after=removed("data/train", "data/val"))
    held = []

    def hold(folder):
        held.append(os.open(folder / "runs/torn/.lock", os.O_RDWR | os.O_CREAT))
        fcntl.flock(held[-1], fcntl.LOCK_EX)
    yield Row(torn, 5, "works in it", (torn,), before=hold, after=lambda folder: os.close(held.pop()))
    train = f"train data {SMALL} --epochs 1"
    yield Row(f"{train} --max-lr 1e30 --out lost", 6, "training diverged", (f"{train} --max-lr auto --out lost2",),
              free=True)
    yield Row(f"{train} --max-lr 30 --epochs 2 --out high", 6, "the evaluation's loss is not finite",
              (f"{train} --max-lr 0.01 --out lower",), free=True)
    yield Row(f"{train} --max-lr 2 --out high2", 0, "stop and train anew with --max-lr",
              (f"{train} --max-lr 0.2 --out lower2",), free=True)
    yield Row(f"{train} --max-lr 0.01 --out data", 5, "not empty", (f"{train} --max-lr 0.01 --out fresh",), free=True)
    yield Row(f"{train} --max-lr 0.01 --out used", 0, "Use it with", typed=True)
    yield Row(f"train data {SMALL} --epochs 2 --max-lr 0.01 --out cut", 130, "Continue with", typed=True,
              interrupt_when="cut/config.json")
    yield Row("train", 2, "DATA", ("train photos/ --arch resnet18 --size 32 --epochs 1 --max-lr 0.01",), free=True)
    yield Row("finetune photos", 2, "finetune starts from trained weights", typed=True, then=4)
    yield Row(f"{train} --max-lr 0.01 --checkpoint-every -1", 2, "each epoch", (f"{train} --max-lr 0.01",))
    for text, says, code in [('{"seed": "x"}', "must be", 2), ("[]", "not a JSON object", 2),
                             ('{"no_such": 1}', "no option", 2),
                             ('{"stem": "tiny"}', "a value that the option takes", 2),
                             ('{"init": ""}', "it is empty", 2), ('{"shares": -1}', "chosen by what fits", 2),
                             ('{"sizes": "64:2,128:3", "size": 64}', "its last size is 128", 2)]:
        after = '{"sizes": "64:2,128:3"}' if "sizes" in text else "{}"
        yield Row(CURVE + " --config c.json", code, says, (CURVE + " --config c.json",), before=written("c.json", text),
                  after=written("c.json", after))
    yield Row(find("data", "--config c.json"), 2, "not equally many", (find("data", "--config c.json --accumulate 2"),),
              before=written("c.json", '{"shares": 2}'))
    yield Row(CURVE + " --config missing.json", 5, "no such file", (CURVE + " --config runs/photos/config.json",),
              free=True)
    yield Row(CURVE + " --config data", 5, "it is a folder", (CURVE + " --config runs/photos/config.json",), free=True)
    yield Row(CURVE + " --config huge.json", 5, "too large", (CURVE + " --config runs/photos/config.json",), free=True,
              before=lambda folder: os.truncate(os.open(folder / "huge.json", os.O_RDWR | os.O_CREAT), 1 << 40))
    bad = b"caf\xe9".decode(errors="surrogateescape")
    yield Row(f"train {bad} {SMALL} --epochs 1 --max-lr 0.01 --out renamed", 2, "not UTF-8",
              (f"train cafe {SMALL} --epochs 1 --max-lr 0.01 --out renamed",), before=copied("data", bad),
              after=moved(bad, "cafe"))
    yield Row("CUDA_VISIBLE_DEVICES= " + CURVE + " --device cuda", 7, "no such device", (CURVE + " --device cpu",),
              free=True)


def other_rows():
    yield Row("", 2, "no verb", ("--help",), free=True)
    quick = "--arch resnet18 --size 32 --epochs 1"
    yield Row("--help", 0, "First steps", (f"find photos/ {quick} --steps 2", f"train photos/ {quick} --max-lr 0.01",
                                           "predict cat.jpg --model runs/photos"), free=True)
    yield Row("trian photos", 2, "did you mean train", ("train --help", "--help"), free=True)
    yield Row("--json runs/photos info", 2, "stands before the verb", ("info --json runs/photos",))
    yield Row("blah", 2, "unknown verb", ("--help",), free=True)
    yield Row("plan --blah", 2, "has no such option", ("plan --help",), free=True)
    yield Row("plan more", 2, "takes no further argument", ("plan", "plan --help"), free=True)
    yield Row("plan a=b", 2, "takes no further argument", ("plan", "plan --help"), free=True)
    yield Row("plan --program --mode sleep", 2, "unknown mode", ("plan --program --mode evaluate",))
    yield Row("plan --program --ranks 0", 2, "between 1 and 65536", ("plan --program --ranks 1",))
    yield Row("plan --program --classes 0", 2, "it needs an output", ("plan --program --classes 1",))
    yield Row("plan --epochs 1000000000", 2, "too many rows", ("plan --epochs 2",), free=True)
    yield Row("plan --epochs 9000000000000", 2, "more than", ("plan --epochs 2",), free=True)
    small = "profile --arch resnet18 --size 32 --batch-size 2 --steps 1 --device cpu --limits 20,0.1"
    predict = "profile --predict h200"
    yield Row(predict + " --limits fast", 2, "not two numbers", (predict + " --limits 4300,790",))
    yield Row(predict + " --limits 0,1", 2, "above 0", (predict + " --limits 4300,790",))
    yield Row(predict + " --by colour", 2, "no such choice", (predict + " --by operation",))
    yield Row(predict + " --steps 0", 2, "between 1", (predict + " --steps 5",))
    yield Row(predict + " --classes 0", 2, "between 1", (predict + " --classes 10",))
    yield Row(small + " --predict h200", 2, "takes no --device",
              (small, small.replace("--device cpu", "--predict h200")))
    yield Row(predict + " --counts", 2, "runs nothing", (predict,), free=True)
    yield Row(predict + " --precision fp32", 2, "only 16-bit", (predict + " --precision fp32 --limits 4300,60",),
              free=True)
    yield Row("profile --predict a100", 2, "not known",
              (predict, "profile --predict a100 --limits 1500,250"), free=True)
    ranks = predict + " --ranks 8"
    yield Row("profile --ranks 8", 2, "predicted, not run", (ranks,))
    yield Row(predict + " --ranks 8,0", 2, "list of whole numbers", (predict + " --ranks 8,64",))
    yield Row(predict + " --ranks 12", 2, "do not fill nodes of 8", (ranks, ranks + " --ranks-per-node 4"), free=True)
    yield Row(predict + " --link 450,50", 2, "several ranks", (ranks + " --link 450,50", predict))
    yield Row(ranks + " --link 450", 2, "two, four or five numbers", (ranks + " --link 450,50",))
    yield Row(ranks + " --link 450,0", 2, "above 0", (ranks + " --link 450,50",), free=True)
    yield Row(ranks + " --link 450,50,1,-1", 2, "0 or more", (ranks + " --link 450,50",), free=True)
    yield Row(ranks + " --ranks-per-node 0", 2, "between 1 and 1024", (ranks + " --ranks-per-node 8",))
    yield Row(ranks + " --cores 0", 2, "above 0", (ranks + " --cores 14",), free=True)
    yield Row(ranks + " --decode-rate -1", 2, r"0 \(as measured\) or more", (ranks,), free=True)
    yield Row("profile --arch resnet18 --size 1024 --batch-size 4096 --device cpu --limits 1,1", 7, "not enough memory",
              (small,), free=True)


def rows(program):
    yield from option_rows()
    yield from folder_rows()
    yield from shard_rows()
    yield from label_rows(program)
    yield from model_rows()
    yield from class_name_rows()
    yield from curve_rows()
    yield from other_rows()
    yield from run_rows(program)
