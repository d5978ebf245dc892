"""The rows of test_advice.py about models and runs."""
import fcntl
import json
import os
import struct

from advice_row import CURVE, SMALL, Row, copied, copied_as, find, linked, moved, one_by_one, removed, written


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
    yield Row("predict cat.jpg --model runs/photos --decode-memory 5K", 3, "fix: use --decode-memory [0-9]+, or",
              ("predict cat.jpg --model runs/photos --decode-memory 100K",), free=True)
    yield Row("predict cat.jpg --model runs/photos --max-pixels 5", 3, "fix: use --max-pixels [0-9]+, or",
              ("predict cat.jpg --model runs/photos --max-pixels 100000",), free=True)
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
    yield Row("export runs/photos --to model.safetensors/x.onnx", 5, "not a directory",
              ("export runs/photos --to FILE.onnx",), free=True, before=clean)
    yield Row(f"export runs/photos --to {247 * 'n'}.onnx", 5, "file name too long",
              ("export runs/photos --to FILE.onnx",), free=True, before=clean)
    yield Row("export runs/photos --to x.onnx", 5, "it is a folder", ("export runs/photos --to FILE.onnx",), free=True,
              before=one_by_one(clean, written("x.onnx/y", "")))
    drawn = "eval data --model runs/photos --svg"
    yield Row(f"{drawn} names.txt", 5, "onecycle did not make it",
              (f"{drawn} other.svg", f"{drawn} names.txt --force"), free=True, before=written("names.txt", "of mine"))
    yield Row(f"{drawn} /dev/null", 5, "no regular file", (f"{drawn} other.svg",), free=True)
    yield Row(f"{drawn} link.svg", 5, "it is a link", (f"{drawn} other.svg",), free=True,
              before=linked("link.svg", "other.svg"))


def run_rows(program):
    """Runs that are started, stopped, resumed."""
    resume = "train --resume runs/photos"
    yield Row(resume + " --out x", 2, "the run has its own", (resume,))
    yield Row(resume + " --seed 3", 2, "would change the result", (resume,))
    yield Row("train --resume missing", 4, "no run folder", (resume,), free=True)
    yield Row("train --resume runs/photos/latest", 4, "it is no folder", (resume,), free=True)
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
    lock, steps, picture = (f"runs/torn/{name}" for name in (".lock", "steps.csv", "training.svg"))
    yield Row(torn, 5, "it is a link, which is not followed", (torn,), before=one_by_one(find_again, linked(lock, "x")),
              after=removed(lock))
    away = "runs/torn/checkpoints/step-900000.safetensors"
    yield Row(torn, 5, "leads nowhere", (torn,), before=linked(away, "x"), after=removed(away))
    yield Row(torn, 5, "a run goes on without the rows", (torn,),
              before=one_by_one(removed(steps), lambda folder: (folder / steps).mkdir()), after=removed(steps))
    yield Row(torn, 0, "cannot draw", (torn,), before=one_by_one(removed(picture), written(picture, "of mine")),
              after=removed(picture), gone="cannot draw")
    yield Row("train --resume runs/bare", 3, "not those that the run began with", ("train --resume runs/bare",),
              before=one_by_one(copied_as("runs/photos/config.json", "runs/bare/config.json"), lose), after=find_again)

    unsaved = one_by_one(copied("runs/photos", "runs/begun"),
                       removed(*(f"runs/begun/{name}" for name in ("checkpoints", "latest", "best"))))
    yield Row("train --resume runs/begun", 3, "no such folder", ("train moved --resume runs/begun",), free=True,
              before=one_by_one(unsaved, moved("data", "moved")))
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
