"""Whether the commands that onecycle prints for files it cannot read make files that it can, with the same answers.

Run: python tests/reference/check_recipes.py build/onecycle        (torch, torchvision, safetensors, Pillow)
"""

import json
import os
import pathlib
import pickle
import re
import shlex
import subprocess
import sys
import tempfile

import safetensors.torch
import torch
import torchvision
from PIL import Image

onecycle = os.path.abspath(sys.argv[1])
torch.manual_seed(0)
net = torchvision.models.resnet18(num_classes=3).eval()
weights = net.state_dict()
arrays = {name: tensor.numpy() for name, tensor in weights.items()}


def answers(model):
    asked = [onecycle, "predict", "image.png", "--model", model, "--size", "32", "--json"]
    return subprocess.run(asked, capture_output=True, text=True)


def follow(name):
    """Runs what the refusal of this file says; returns the file that it made."""
    refused = answers(name)
    assert refused.returncode == 4, (name, refused.stdout)
    assert refused.stderr.count("\n") == 1, refused.stderr
    command = re.search(r"(python3 -c .*), then use model\.safetensors", refused.stderr)
    assert command, refused.stderr
    program = command.group(1).replace("python3", shlex.quote(sys.executable), 1)
    pathlib.Path("model.safetensors").unlink(missing_ok=True)
    subprocess.run(["sh", "-c", program], check=True, capture_output=True)


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    Image.effect_noise((40, 40), 90).convert("RGB").save("image.png")
    torch.save(weights, "plain.pth")
    torch.save(arrays, "arrays.pth")
    torch.save({"epoch": 1, "model": arrays, "optimizer": {"state": {}}}, "it's $HOME `x` 100%.pth")
    pickle.dump(arrays, open("bare.pkl", "wb"))
    pickle.dump({"net": weights, "epoch": 2}, open("bare tensors.pkl", "wb"))
    torch.jit.save(torch.jit.script(net), "script.pt")
    torch.jit.save(torch.jit.trace(net, torch.ones(1, 3, 32, 32)), "traced.pt")
    other = torchvision.models.resnet18(num_classes=3).eval().state_dict()
    torch.save({"models": {"first": weights, "second": other}}, "two.pth")
    both = {f"a.{k}": v for k, v in weights.items()} | {f"b.{k}": v for k, v in other.items()}
    torch.save(both, "prefixes.pth")
    safetensors.torch.save_file(both, "prefixes.safetensors")
    expected = json.loads(answers("plain.pth").stdout)
    files = sorted(f for f in os.listdir(".") if f not in ("image.png", "plain.pth"))
    for file in files:
        follow(file)
        made = answers("model.safetensors")
        assert made.returncode == 0, (file, made.stderr)
        assert json.loads(made.stdout) == expected, file
        print(f"{file}: its line works")
