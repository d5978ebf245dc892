"""The rows of test_advice.py: what provokes a message, what it says, and its advice as commands. Here:
options, curves, and what fits nowhere else."""
import re
import shutil

from advice_row import CURVE, SMALL, Row, find, removed, written
from advice_table_data import folder_rows, label_rows, shard_rows
from advice_table_models import class_name_rows, model_rows, run_rows


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
