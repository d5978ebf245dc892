"""Do other programs understand what `onecycle export` writes?

    python tests/reference/check_exports.py                    # the files that the tests compare with
    python tests/reference/check_exports.py build/onecycle   # and what the program writes now

Needs torch, torchvision, timm, safetensors, onnx and onnxruntime. For ResNet18, 34 and 50 with both stems, with torchvision's
head and with fastai's, seeded random weights and batch norm statistics: a .safetensors export must load into torchvision's
and timm's models with strict=True and hold the same values; an .onnx export must satisfy onnx.checker and give
torchvision's logits in onnxruntime within 1e-4, one image or three, batch norms folded or kept, from pixels or normalised;
our own probabilities must be those of the same logits. Not part of what runs for every commit:
tests/train/test_onnx_export.cpp compares its graphs with data/onnx/*.onnx, which are checked here.
Versions used: torch 2.11.0, torchvision 0.26, timm 1.0.31, onnx 1.23.2, onnxruntime 1.32.0.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import timm
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import formula

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ConcatPool(nn.Module):
    def forward(self, x):
        return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


class FastaiHead(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.bn1, self.fc1 = nn.BatchNorm1d(features), nn.Linear(features, 512, bias=False)
        self.bn2, self.fc2 = nn.BatchNorm1d(512), nn.Linear(512, classes, bias=False)

    def forward(self, x):
        return self.fc2(self.bn2(self.fc1(self.bn1(x)).relu()))


def network(arch, small, fastai, classes, seed):
    torch.manual_seed(seed)
    model = getattr(torchvision.models, arch)(num_classes=classes)
    if small:
        model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    if fastai:
        model.avgpool, model.fc = ConcatPool(), FastaiHead(2 * model.fc.in_features, classes)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.weight.data.uniform_(0.5, 1.0)
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.num_batches_tracked.fill_(7)
    return model.eval()


def every_place(images):
    """The network of tests/train/test_onnx_export.cpp, in double precision."""
    def tensor(name, *shape):
        return torch.tensor(formula.parameter(name, shape)).double()

    def conv(name, x, out, kernel, stride):
        return F.conv2d(x, tensor(name + ".weight", out, x.shape[1], kernel, kernel), stride=stride, padding=kernel // 2)

    def norm(name, x):
        of = {part: tensor(f"{name}.{part}", x.shape[1]) for part in ("running_mean", "running_var", "weight", "bias")}
        return F.batch_norm(x, **of, eps=1e-5)

    def linear(name, x, out, bias):
        return F.linear(x, tensor(name + ".weight", out, x.shape[1]), tensor(name + ".bias", out) if bias else None)

    x = F.max_pool2d(norm("stem.norm", conv("stem.conv", images, 8, 3, 1)).relu(), 3, 2, 1)
    x = norm("block.norm", conv("block.conv", x, 8, 3, 2))
    x = conv("twice.conv", x + x.relu(), 8, 1, 1)
    x = x + norm("twice.norm", x)
    x = norm("head.norm", torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1))
    x = norm("hidden.norm", linear("hidden", x, 6, False).relu())
    return linear("fc", x, 5, True).numpy()


def worst(a, b):
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


class Checks:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.failed = binary, folder, 0

    def run(self, *words):
        return subprocess.run([self.binary, *map(str, words)], check=True, capture_output=True, text=True).stdout

    def say(self, good, text):
        self.failed += not good
        print("ok  " if good else "FAIL", text, flush=True)

    def equal(self, name, file, model):
        ours, theirs = load_file(file), model.state_dict()
        ours = {name.replace("head.", "fc."): tensor for name, tensor in ours.items()}  # fastai's head
        model.load_state_dict(ours, strict=True)
        same = ours.keys() == theirs.keys() and all(
            ours[k].dtype == theirs[k].dtype and torch.equal(ours[k], theirs[k]) for k in theirs)
        self.say(same, f"{name}: safetensors, every tensor equal, strict")

    def logits(self, name, file, images, expected, tolerance=1e-4):
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        assert model.opset_import[0].version == 17, model.opset_import
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        output = session.get_outputs()[0]
        assert output.name == "logits" and output.shape == ["N", expected.shape[1]], (output.name, output.shape)
        away = max(worst(session.run(None, {session.get_inputs()[0].name: images[:n]})[0], expected[:n]) for n in (1, 3))
        self.say(away <= tolerance, f"{name}: onnxruntime's logits differ by {away:.1e}")
        return model

    def committed(self):
        pixels = formula.images("every place", 3, 12)
        inputs = ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
        expected = every_place(torch.from_numpy(inputs).double())
        for name in ("folded", "kept", "pixels"):
            file = pathlib.Path(__file__).parent / f"data/onnx/{name}.onnx"
            self.logits(file.name, str(file), pixels if name == "pixels" else inputs, expected, 1e-5)

    def network(self, arch, small, fastai):
        size, classes = (32, 10) if small else (64, 1000)
        name = f"{arch}, {'small' if small else 'imagenet'} stem{', fastai head' if fastai else ''}"
        model = network(arch, small, fastai, classes, seed=len(arch) + small)
        source = self.folder / "source.pth"
        torch.save({(name.replace("fc.", "head.") if fastai else name): tensor
                    for name, tensor in model.state_dict().items()}, source)
        pixels = np.random.default_rng(1).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
        inputs = (pixels.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
        inputs = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
        with torch.no_grad():
            expected = model(torch.from_numpy(inputs)).numpy()

        weights = str(self.folder / "weights.safetensors")
        self.run("export", source, "--to", weights, "--size", size, "--force")
        self.equal(name, weights, model)
        if not small and not fastai:
            timm.create_model(arch, num_classes=classes).load_state_dict(load_file(weights), strict=True)
            self.say(True, f"{name}: timm, strict")
        for options in ([], ["--keep-bn"], ["--with-preprocessing"]):
            graph = str(self.folder / "graph.onnx")
            self.run("export", weights, "--to", graph, "--force", *options)
            images = pixels if "--with-preprocessing" in options else inputs
            written = self.logits(f"{name} {' '.join(options)}", graph, images, expected)
            norms = sum(node.op_type == "BatchNormalization" for node in written.graph.node)
            assert (norms > 0) == ("--keep-bn" in options), norms
            metadata = {entry.key: json.loads(entry.value) for entry in written.metadata_props}
            assert metadata["size"] == size and metadata["crop_pct"] == 0.875 and metadata["mean"] == list(MEAN)
            assert metadata["std"] == list(STD) and len(metadata["classes"]) == classes, metadata

        for i in range(3):
            Image.fromarray(pixels[i]).save(self.folder / f"{i}.png")
        answers = json.loads(self.run("predict", *(self.folder / f"{i}.png" for i in range(3)), "--model", weights,
                                      "--top", classes, "--json"))
        ours = np.array([[entry["probability"] for entry in sorted(a["top"], key=lambda e: e["index"])] for a in answers])
        # Logits are known from probabilities up to a constant.
        ours = np.log(ours) - np.log(ours).mean(1, keepdims=True)
        away = worst(ours, expected - expected.mean(1, keepdims=True))
        self.say(away <= 1e-4, f"{name}: our own logits differ by {away:.1e}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binary", nargs="?", help="build/onecycle")
    binary = arguments.parse_args().binary
    with tempfile.TemporaryDirectory() as folder:
        checks = Checks(binary, pathlib.Path(folder))
        checks.committed()
        for arch in ("resnet18", "resnet34", "resnet50") if binary else ():
            for small, fastai in ((False, False), (True, False), (True, True)):
                checks.network(arch, small, fastai)
        sys.exit(checks.failed > 0)


if __name__ == "__main__":
    main()
