"""Checkpoints as training scripts write them, of a network that has a ResNet's names and next to no weights.

Run: python tests/reference/generate_checkpoints.py        (torch 2.11, numpy, safetensors)

The weights proper are below 100, their moving averages from 100 on: the first element of conv1.weight tells which were
taken. `plain.pth` holds the weights proper, under their names alone; every other file must read as it does.
"""

import argparse
import collections
import datetime
import enum
import pathlib
import pickle
import random

import numpy as np
import torch
from safetensors.torch import save_file

torch.manual_seed(0)
np.random.seed(0)
random.seed(0)
target = pathlib.Path(__file__).parent / "data" / "torch" / "checkpoints"
target.mkdir(exist_ok=True)
for old in target.iterdir():
    old.unlink()


class Net(torch.nn.Module):
    """The names that tell a ResNet, with a block of one convolution."""

    def __init__(self, fc=True):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 2, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(2)
        block = torch.nn.Module()
        block.conv1 = torch.nn.Conv2d(2, 2, 1, bias=False)
        self.layer1 = torch.nn.Sequential(block)
        if fc:
            self.fc = torch.nn.Linear(2, 2)

    def forward(self, x):
        x = self.bn1(self.conv1(x))
        x = self.layer1[0].conv1(x).mean((2, 3))
        return self.fc(x) if hasattr(self, "fc") else x


def filled(first, **options):
    net = Net(**options)
    with torch.no_grad():
        for i, (name, tensor) in enumerate(net.state_dict().items()):
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) / 8 + first + i)
    return net


net, average = filled(1), filled(101)
sd, ema = net.state_dict(), average.state_dict()
optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
net.eval()(torch.ones(4, 1, 2, 2)).sum().backward()
state = optimizer.state_dict()
state["state"] = {i: {"momentum_buffer": torch.ones_like(p)} for i, p in enumerate(net.parameters())}


def prefixed(prefix, tensors=None):
    return {prefix + k: v for k, v in (sd if tensors is None else tensors).items()}


def save(what, name, **options):
    torch.save(what, target / name, **options)


save(sd, "plain.pth")

# Wrappers.
save(
    {"epoch": 3, "arch": "resnet18", "state_dict": prefixed("module."), "best_acc1": torch.tensor(71.2)}
    | {"optimizer": state},
    "imagenet_example.pth.tar",
)
save({"epoch": 5, "model_state_dict": sd, "optimizer_state_dict": state, "loss": torch.tensor(0.4)}, "tutorial.pt")
save({"net": sd, "acc": 93.1, "epoch": 10}, "net.pth")
save({"config": {"a": 1}, "weights": {"resnet": sd}, "mean": torch.ones(3)}, "two_deep.pth")
save((sd, state), "pair.pth")
save([{"model": sd}], "list.pth")
save({"state": "best", "step": torch.ones(3), "some key of ours": sd}, "any_key.pth")

# Averages beside them.
save(
    {"epoch": 1, "state_dict": sd, "args": argparse.Namespace(model="resnet18", lr=0.1), "state_dict_ema": ema},
    "timm.pth.tar",
)
save({"model": sd, "model_ema": {"n_averaged": torch.tensor(3)} | prefixed("module.", ema)}, "torchvision.pth")
save(
    {"student": prefixed("module.backbone."), "teacher": prefixed("backbone.", ema), "optimizer": state},
    "dino.pth",
)
save(
    {"epoch": 200, "state_dict": prefixed("module.encoder_q.") | prefixed("module.encoder_k.", ema)}
    | {"queue": torch.ones(2, 4)},
    "moco.pth.tar",
)
save({"model": net, "ema": average, "updates": 7}, "modules.pt")
save({"ema": ema, "net": sd}, "average_first.pth")
save({"state_dict": sd, "momentum": dict(net.named_parameters())}, "momentum.pth")

# Prefixes.
for name in ("_orig_mod.", "_orig_mod.module.", "module._orig_mod.model.backbone.", "encoder_q.", "net.0.body."):
    save(prefixed(name), f"prefix-{name.replace('.', '-')}.pth")
save_file({k: v.contiguous() for k, v in prefixed("module._orig_mod.").items()}, target / "prefix.safetensors")
save_file(
    {k: v.contiguous().clone() for k, v in (prefixed("model.") | prefixed("ema.", ema)).items()}
    | {"criterion.weight": torch.ones(2)},
    target / "average.safetensors",
)
save(prefixed("backbone.body.") | {"backbone.fpn.weight": torch.ones(2), "queue": torch.ones(3)}, "beside.pth")


# As numbered children of a Sequential: a body as fastai makes it, with a head of another kind
# beside it.
children = {"conv1": "0", "bn1": "1", "layer1": "4"}
numbered = {children[k.split(".")[0]] + k[k.index(".") :]: v for k, v in sd.items() if k.split(".")[0] in children}
save({"model": prefixed("0.", numbered) | {"1.8.weight": torch.ones(2, 2)}, "opt": state}, "backbone-fastai.pth")
save(numbered, "backbone-sequential.pth")


# What stands beside them.
class Config:  # as omegaconf's
    def __init__(self, **values):
        self.__dict__["_content"] = values
        self.__dict__["_metadata"] = {"flags": None}


class Attributes(dict):  # as easydict's
    pass


class Colour(enum.Enum):
    RED = 1


class Point(collections.namedtuple("Point", "x y")):
    pass


class Slots:
    __slots__ = ("a",)

    def __init__(self):
        self.a = torch.ones(1)


extras = {
    "numpy scalar": np.float64(0.91),
    "numpy array": np.arange(3),
    "numpy rng": np.random.get_state(),
    "python rng": random.getstate(),
    "torch rng": torch.get_rng_state(),
    "path": pathlib.PurePosixPath("a/b"),
    "date": datetime.datetime(2026, 1, 2),
    "enum": Colour.RED,
    "named": Point(1, 2),
    "slots": Slots(),
    "config": Config(lr=0.1, steps=[1, 2]),
    "attributes": Attributes(a=1),
    "default": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("aab"),
    "set": {1, 2},
    "frozen": frozenset("ab"),
    "bytes": b"abc" * 100,
    "bytearray": bytearray(b"abc"),
    "large": 1 << 100,
    "negative": -(1 << 40),
    "complex": 1 + 2j,
    "slice": slice(1, 2),
    "function": torch.nn.functional.relu,
    "method": net.forward,
    "dtype": torch.bfloat16,
    "device": torch.device("cpu"),
    "size": torch.Size([1, 2]),
    "long text": "x" * 600,
    "sparse": torch.eye(2).to_sparse(),
    "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "complex tensor": torch.ones(2, dtype=torch.complex64),
    "int8": torch.ones(2, dtype=torch.int8),
    "float8": torch.ones(2).to(torch.float8_e4m3fn),
    "expanded": torch.ones(1).expand(1 << 40),
    3: "a number as a key",
    None: None,
    (1, 2): "a pair as a key",
}
for protocol in (2, 3, 4, 5):
    save(extras | {"model": sd}, f"extras-{protocol}.pth", pickle_protocol=protocol)
save({"model": Attributes(sd), "other": 1}, "dictionary_class.pth")


class Trainer:
    def __init__(self):
        self.model, self.step, self.optimizer = sd, 3, optimizer


save(Trainer(), "trainer.pth")


class Wrapper:  # whose pickle calls it again, as a compiled module's
    def __init__(self, module, options):
        self.module = module

    def __reduce__(self):
        return Wrapper, (self.module, {"a": 1})


save(Wrapper(net, None), "called.pth")

# Whole modules.
save(net, "module.pth")
save(torch.nn.DataParallel(net), "parallel.pth")
save({"epoch": 1, "model": torch.nn.Sequential(net)}, "module_in.pth")

# The form of before version 1.6.
for protocol in (2, 4):
    legacy = {"_use_new_zipfile_serialization": False, "pickle_protocol": protocol}
    save({"state_dict": prefixed("module."), "rng": torch.get_rng_state()}, f"legacy-{protocol}.pth", **legacy)

# Tensors of every make.
made = {}
for i, (k, v) in enumerate(sd.items()):
    one = torch.stack([v, v])[1] if v.dim() else v  # a view with an offset
    made[k] = torch.nn.Parameter(one) if v.is_floating_point() and "running" not in k else one
made["conv1.weight"] = torch.stack([sd["conv1.weight"]] * 3, -1)[..., 1].half()  # strides
made["bn1.running_mean"] = sd["bn1.running_mean"].bfloat16()
made["bn1.running_var"] = sd["bn1.running_var"].double()
made["fc.bias"] = torch.Tensor._make_subclass(torch.nn.parameter.Buffer, sd["fc.bias"])
made["fc.bias"].extra = "an attribute"
made["layer1.0.conv1.weight"] = sd["layer1.0.conv1.weight"]
save(made, "made.pth")
repeated = dict(sd) | {"bn1.weight": torch.ones(1).expand(2)}
save(repeated, "repeated.pth")
save({k: v for k, v in sd.items() if not k.startswith("fc.")}, "backbone.pth")

# Refused: which of two; none that is a tensor; a pickle that is not torch's; a program.
save({"netA": sd, "netB": ema}, "refused-two.pth")
save({"netA": sd, "netB": net.state_dict()}, "same.pth")
two = prefixed("a.") | prefixed("b.", ema)
save_file({k: v.contiguous().clone() for k, v in two.items()}, target / "refused-two.safetensors")
save({k: v.numpy() for k, v in sd.items()}, "refused-numpy.pth")
(target / "refused-pickle-tensors.pth").write_bytes(pickle.dumps(sd))
(target / "refused-pickle-nothing.pth").write_bytes(pickle.dumps({"text": "abc", "numbers": [1, 2]}))
(target / "refused-pickle.pth").write_bytes(pickle.dumps({k: v.numpy() for k, v in sd.items()}))
save({"text": "abc", "numbers": [1, 2]}, "refused-nothing.pth")
print(*(f"{file.name} {file.stat().st_size}" for file in sorted(target.iterdir())), sep="\n")
