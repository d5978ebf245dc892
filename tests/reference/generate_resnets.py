"""ResNet18/34/50: one step's loss, logits, running statistics and all gradients, and their inventory.

Run: python tests/reference/generate_resnets.py   (about 1 minute)
Versions used: torch 2.11.0, torchvision 0.26.0, numpy 2.4.6. Writes to tests/reference/data/
    formula.json               a few numbers of formula.py, for whoever computes them elsewhere
    resnet_architectures.json  every tensor of the state dict, in its order, and counts
    resnet18.json, resnet34.json, resnet50.json
Those three are lists of cases {arch, stem, classes, batch, size, mode, images, labels, norm_bias, loss,
logits, tolerance}. Weights and running statistics come from the formula under torchvision's names;
`images` and `labels` are names for the formula too. The truth is computed in float64. `tolerance` is for
loss and logits, a part of the logits' root mean square. Cases with mode "train" also have `gradients` and
`statistics` (after the step), rows [name, sum, norm, dot, [samples], tolerance], see formula.summary;
"eval" cases use the running statistics. README.md here tells how the images and tolerances were chosen.
"""
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torchvision

import formula
import networks

torch.set_num_threads(1)
DATA = pathlib.Path(__file__).parent / "data"
CLASSES = 10
CASES = {  # arch: (stem, batch, size, images, norm_bias, mode)
    "resnet18": [("imagenet", 8, 32, "images.4", 0.0, "train"), ("imagenet", 3, 64, "images.7", 0.0, "train"),
                 ("imagenet", 5, 71, "images.6", 1.0, "train"), ("small", 4, 32, "images.0", 1.0, "train"),
                 ("imagenet", 3, 64, "images.7", 0.0, "eval"), ("small", 3, 32, "images.0", 0.0, "eval")],
    "resnet34": [("imagenet", 8, 32, "images.3", 0.0, "train"), ("imagenet", 3, 64, "images.7", 0.0, "train"),
                 ("imagenet", 3, 64, "images.7", 0.0, "eval")],
    "resnet50": [("imagenet", 6, 32, "images.40", 1.0, "train"), ("imagenet", 3, 64, "images.7", 1.0, "train"),
                 ("imagenet", 3, 64, "images.7", 0.0, "eval")],
}


def run(arch, stem, batch, size, images, norm_bias, mode, kind):
    """Loss, logits and, in training, gradients and statistics by name; all float64."""
    with networks.arithmetic(kind) as (dtype, layout):
        model = networks.resnet(arch, stem, CLASSES, dtype, norm_bias).to(memory_format=layout)
        model.train(mode != "eval")
        kinks = networks.Kinks(model)
        torch.set_grad_enabled(mode == "train")
        logits = model(networks.normalized(images, batch, size, dtype).contiguous(memory_format=layout))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(formula.labels("labels", batch, CLASSES)))
        result = {"loss": loss.item(), "logits": logits.detach().double().numpy(), "kinks": kinks}
        if mode == "train":
            loss.backward()
            result["gradients"] = {n: p.grad.double().numpy() for n, p in model.named_parameters()}
            result["statistics"] = {n: b.double().numpy() for n, b in model.named_buffers() if "running" in n}
    return result


def compare(arch, *case):
    """The truth, and what PyTorch's fp32 makes of it: error of the logits, errors by tensor."""
    truth = run(arch, *case, "float64")
    others = [run(arch, *case, kind) for kind in networks.FP32]
    scale = math.sqrt(np.mean(truth["logits"] ** 2))
    error = max(float(np.abs(o["logits"] - truth["logits"]).max()) / scale for o in others)
    margin = min(truth["kinks"].margin(o["kinks"]) for o in others)
    found = {part: networks.errors(truth[part], [o[part] for o in others])
             for part in ("gradients", "statistics") if part in truth}
    print(arch, *case, f"loss {truth['loss']:.3f} logits rms {scale:.2f} error {error:.0e}",
          *(f"{part} median {np.median(list(e.values())):.0e} worst {max(e.values()):.0e}" for part, e in found.items()),
          f"kink margin {margin:.1f}", flush=True)
    return truth, error, found, margin


def dump(arch, stem, batch, size, images, norm_bias, mode):
    truth, error, found, margin = compare(arch, stem, batch, size, images, norm_bias, mode)
    if mode != "eval" and margin < 1.4:
        print(f"  {arch} {size} px: a ReLU may switch by rounding; the tolerances, ten times what PyTorch's own "
              "fp32 variants differ by, take that in", flush=True)
    head = {"arch": arch, "stem": stem, "classes": CLASSES, "batch": batch, "size": size, "mode": mode,
            "images": images, "labels": "labels", "norm_bias": norm_bias, "loss": truth["loss"],
            "logits": truth["logits"].tolist()}
    head = formula.rounded(head, 9) | {"tolerance": formula.rounded(10 * max(error, 1e-6), 2)}
    return json.dumps(head)[:-1] + "".join(
        f', "{part}": {networks.lines(networks.rows(truth[part], e))}' for part, e in found.items()) + "}"


def architectures():
    out = {}
    for arch, weights in (("resnet18", torchvision.models.ResNet18_Weights),
                          ("resnet34", torchvision.models.ResNet34_Weights),
                          ("resnet50", torchvision.models.ResNet50_Weights)):
        build = getattr(torchvision.models, arch)
        zeros = [n for n, p in build(zero_init_residual=True).named_parameters()
                 if n.endswith("weight") and not p.any()]
        out[arch] = {"parameters": {c: sum(p.numel() for p in build(num_classes=c).parameters()) for c in (5, 10, 1000)},
                     "gmac_224": weights.IMAGENET1K_V1.value.meta["_ops"], "zero_init_residual": zeros,
                     "state_dict": [[n, list(t.shape)] for n, t in build().state_dict().items()]}
    return out


def formula_vector():
    """Something of each kind, so that a slip in another language shows which step is wrong."""
    names, indices = ["conv1.weight", "layer4.1.bn2.running_var"], [0, 1, 2, 1000, 2359295]
    shapes = {"conv1.weight": [64, 3, 7, 7], "bn1.weight": [64], "layer1.0.bn2.weight": [64], "bn1.bias": [64],
              "bn1.running_mean": [64], "bn1.running_var": [64], "fc.weight": [10, 512], "fc.bias": [10]}
    return {"fnv1a": {n: formula.fnv1a(n) for n in names},
            "hash": {n: [[i, int(formula.hashes(n, i + 1)[i])] for i in indices] for n in names},
            "uniform": {n: [[i, float(formula.uniform(n, i + 1)[i])] for i in indices] for n in names},
            "parameter": {n: {"shape": s, "first": formula.parameter(n, s).reshape(-1)[:4].tolist()}
                          for n, s in shapes.items()},
            "images": {"name": "images.0", "count": 2, "size": 9, "sum": int(formula.images("images.0", 2, 9).sum()),
                       "last": formula.images("images.0", 2, 9).reshape(-1)[-6:].tolist()},
            "labels": formula.labels("labels", 8, 10).tolist(),
            "summary": formula.summary("fc.bias", formula.parameter("fc.bias", [10]))}


def write(name, text):
    path = DATA / name
    path.write_text(text)
    print(path.name, path.stat().st_size, "bytes")


if sys.argv[1:2] == ["--search"]:  # ARCH STEM BATCH SIZE NORM_BIAS COUNT: which images keep away from the kinks
    arch, stem, batch, size, norm_bias, count = sys.argv[2:]
    for i in range(int(count)):
        compare(arch, stem, int(batch), int(size), f"images.{i}", float(norm_bias), "search")
    sys.exit()
write("formula.json", json.dumps(formula_vector(), indent=1) + "\n")
write("resnet_architectures.json",
      "{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in architectures().items()) + "\n}\n")
for arch, cases in CASES.items():
    write(arch + ".json", "[\n" + ",\n".join(dump(arch, *case) for case in cases) + "\n]\n")
