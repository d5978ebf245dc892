"""fastai's head behind torchvision's ResNet18 body: one step's loss, logits, statistics and all gradients.

Run: python tests/reference/generate_head.py   (about 20 seconds)
Versions used: fastai 2.8.7 (fastcore 1.8), torch 2.11.0, torchvision 0.26.0, numpy 2.4.6. Writes
tests/reference/data/head.json: a list of cases as generate_resnets.py describes them, without dropout, and last
{"initial": …}: what create_head() and apply_init() leave in a fresh head, by our names.
"""
import json
import pathlib

import numpy as np
import torch
import torchvision
from fastai.vision.learner import apply_init, create_head

import formula
import networks

torch.set_num_threads(1)
DATA = pathlib.Path(__file__).parent / "data"
CLASSES = 10
CASES = [(8, 32, "images.4", 1.0, "train"), (5, 71, "images.6", 1.0, "train"), (3, 64, "images.7", 1.0, "eval")]


class Model(torch.nn.Module):
    """Under our names: fastai calls the same modules 1.2, 1.4, 1.6 and 1.8 (with dropout)."""

    def __init__(self, ps):
        super().__init__()
        body = torchvision.models.resnet18()
        self.names = [n for n, _ in body.named_children() if n not in ("avgpool", "fc")]
        for name in self.names:
            setattr(self, name, getattr(body, name))
        self.sequence = [create_head(512, CLASSES, ps=ps)]  # in a list: its modules are named once, below
        apply_init(self.sequence[0], torch.nn.init.kaiming_normal_)
        self.head = torch.nn.Module()
        norms = [m for m in self.sequence[0].modules() if isinstance(m, torch.nn.BatchNorm1d)]
        linears = [m for m in self.sequence[0].modules() if isinstance(m, torch.nn.Linear)]
        self.head.bn1, self.head.bn2 = norms
        self.head.fc1, self.head.fc2 = linears
        self.kinks = torch.nn.ModuleList()

    def forward(self, x):
        for name in self.names:
            x = getattr(self, name)(x)
        return self.sequence[0](x)


def run(batch, size, images, norm_bias, mode, kind):
    with networks.arithmetic(kind) as (dtype, layout):
        model = Model(0.0)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    tensor.copy_(torch.from_numpy(formula.parameter(name, tuple(tensor.shape), norm_bias)))
        model = model.to(dtype).to(memory_format=layout)
        model.train(mode != "eval")
        torch.set_grad_enabled(mode == "train")
        logits = model(networks.normalized(images, batch, size, dtype).contiguous(memory_format=layout))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(formula.labels("labels", batch, CLASSES)))
        result = {"loss": loss.item(), "logits": logits.detach().double().numpy()}
        if mode == "train":
            loss.backward()
            result["gradients"] = {n: p.grad.double().numpy() for n, p in model.named_parameters()}
            result["statistics"] = {n: b.double().numpy() for n, b in model.named_buffers() if "running" in n}
    return result


def dump(batch, size, images, norm_bias, mode):
    case = (batch, size, images, norm_bias, mode)
    truth = run(*case, "float64")
    others = [run(*case, kind) for kind in networks.FP32]
    scale = float(np.sqrt(np.mean(truth["logits"] ** 2)))
    error = max(float(np.abs(o["logits"] - truth["logits"]).max()) / scale for o in others)
    found = {part: networks.errors(truth[part], [o[part] for o in others])
             for part in ("gradients", "statistics") if part in truth}
    print(*case, f"loss {truth['loss']:.3f} logits rms {scale:.2f} error {error:.0e}",
          *(f"{part} worst {max(e.values()):.0e}" for part, e in found.items()), flush=True)
    head = {"arch": "resnet18", "stem": "imagenet", "classes": CLASSES, "batch": batch, "size": size, "mode": mode,
            "images": images, "labels": "labels", "norm_bias": norm_bias, "loss": truth["loss"],
            "logits": truth["logits"].tolist()}
    head = formula.rounded(head, 9) | {"tolerance": formula.rounded(10 * max(error, 1e-6), 2)}
    return json.dumps(head)[:-1] + "".join(
        f', "{part}": {networks.lines(networks.rows(truth[part], e))}' for part, e in found.items()) + "}"


def initial():
    """Shapes, means and deviations of a fresh head, and its probabilities of dropout in their order."""
    torch.manual_seed(0)
    model = Model(0.5)
    tensors = {n: [list(t.shape), round(t.mean().item(), 6), round(t.std().item(), 6)]
               for n, t in model.head.state_dict().items() if not n.endswith("num_batches_tracked")}
    dropouts = [m.p for m in model.sequence[0].modules() if isinstance(m, torch.nn.Dropout)]
    return json.dumps({"initial": {"head." + n: t for n, t in tensors.items()}, "dropout": dropouts,
                       "modules": [type(m).__name__ for m in model.sequence[0].modules()
                                   if not list(m.children())]})


(DATA / "head.json").write_text("[\n" + ",\n".join([dump(*case) for case in CASES] + [initial()]) + "\n]\n")
