"""torchvision's ResNets with weights from the formula, in every arithmetic that PyTorch has on a CPU.

Used by generate_resnets.py and generate_training.py.
"""
import contextlib
import json

import numpy as np
import torch
import torchvision

import formula

MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float32).double().view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float32).double().view(1, 3, 1, 1)

# How far PyTorch's own implementations in fp32 are from fp64 is what fp32 can promise.
FP32 = ("contiguous", "channels_last", "native")


@contextlib.contextmanager
def arithmetic(kind):
    """Yields (dtype, memory format) of "float64" or one of FP32; "native" does without oneDNN."""
    with torch.backends.mkldnn.flags(enabled=kind != "native"):
        yield (torch.float64 if kind == "float64" else torch.float32,
               torch.channels_last if kind == "channels_last" else torch.contiguous_format)


def resnet(arch, stem, classes, dtype, norm_bias):
    """Every parameter and running statistic from the formula."""
    model = getattr(torchvision.models, arch)(num_classes=classes)
    if stem == "small":
        model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(torch.from_numpy(formula.parameter(name, tuple(tensor.shape), norm_bias)))
    return model.to(dtype)


def normalized(name, count, size, dtype):
    """The formula's images as the network sees them: (byte/255 - MEAN) / STD, [count, 3, size, size]."""
    x = torch.from_numpy(formula.images(name, count, size)).double().permute(0, 3, 1, 2)
    return ((x / 255 - MEAN) / STD).to(dtype).contiguous()


class Kinks:
    """Records how far each ReLU's input is from zero and each pooling window's best from its second.

    Where rounding pushes one of them over, the gradient jumps by a part in a hundred and two correct
    implementations differ. References are made from images where that does not happen.
    """

    def __init__(self, model):
        self.distances = []
        for module in model.modules():
            if isinstance(module, torch.nn.ReLU):
                module.register_forward_pre_hook(lambda _, args: self._add(args[0]))
            if isinstance(module, torch.nn.MaxPool2d):
                module.register_forward_pre_hook(lambda _, args: self._add_pool(args[0]))

    def _add(self, x):
        self.distances.append(x.detach().double().contiguous().numpy().reshape(-1).copy())

    def _add_pool(self, x):
        columns = torch.nn.functional.unfold(x.detach().double().reshape(-1, 1, *x.shape[2:]), 3, padding=1, stride=2)
        best, second = columns.topk(2, dim=1).values.unbind(1)
        self._add(torch.where(best > 0, best - second, 1.0))  # all zero: no gradient comes through

    def margin(self, other):
        """The smallest distance here, in root mean square errors of `other` at the same place."""
        return min(float(np.abs(a).min() / max(np.sqrt(np.mean((a - b) ** 2)), 1e-30))
                   for a, b in zip(self.distances, other.distances))


def errors(truth, others):
    """{name: error} of arrays by name: the larger of the summaries' difference and the L2 error, as parts
    of the norm, of the worst of `others`."""
    out = {}
    for name, value in truth.items():
        want = formula.summary(name, value)
        out[name] = max(max(formula.difference(formula.summary(name, o[name]), want, value.size),
                            float(np.linalg.norm(o[name] - value)) / (want[1] or 1.0)) for o in others)
    return out


def rows(truth, found):
    """[name, sum, norm, dot, [samples], tolerance] of every tensor. Tolerance: ten times the worst error
    of PyTorch's own fp32, or of the typical tensor of this list where that is larger, at least 1e-6."""
    typical = float(np.median(list(found.values())))
    return [formula.rounded([name, *formula.summary(name, value)], 9)
            + [formula.rounded(10 * max(found[name], typical, 1e-7), 2)] for name, value in truth.items()]


def lines(value):
    """JSON with one row of a list a line, so that a change of the file can be read."""
    return "[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in value) + "]"
