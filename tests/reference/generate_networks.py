"""The networks beside ResNet18/34/50: one step's loss, logits, statistics and all gradients, ten steps' losses.

Run: python tests/reference/generate_networks.py   (about 2 minutes)
Versions used: torch 2.11.0, torchvision 0.26.0, numpy 2.4.6. Writes tests/reference/data/networks.json, an
object with "inventory", by torchvision's name the number of parameters of 1000 classes and a digest of the
names and shapes of its state dict in order, and "cases", a list as generate_resnets.py describes it with
`losses` beside: the loss before each of ten updates on the one batch, by SGD at a rate of 0.01 and a momentum
of 0.9, and the tolerance of each: rounding errors grow from update to update. "vgg" is vgg11_bn with hidden layers of 64 in place of 4096, without dropout;
"resnet9" is written here. What is small enough for the emulator is "emulated" as well.
"""
import json
import math
import pathlib

import numpy as np
import torch
import torchvision

import formula
import networks

torch.set_num_threads(1)
DATA = pathlib.Path(__file__).parent / "data"
CLASSES = 10
CASES = [  # arch, batch, size, images, norm_bias, steps, emulated
    ("resnet9", 4, 32, "images.0", 1.0, 10, True),
    ("vgg", 4, 32, "images.1", 1.0, 10, True), ("vgg", 2, 96, "images.3", 1.0, 0, False),
    ("wide_resnet50_2", 4, 32, "images.40", 1.0, 0, False), ("resnet101", 4, 32, "images.40", 1.0, 0, False),
]
INVENTORY = ("resnet101", "resnet152", "wide_resnet50_2", "vgg11_bn", "vgg16_bn")


def convolution(inputs, outputs):
    return torch.nn.Sequential(torch.nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                               torch.nn.BatchNorm2d(outputs), torch.nn.ReLU())


class ResNet9(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = convolution(3, 64), convolution(64, 128)
        self.res1 = torch.nn.Sequential(convolution(128, 128), convolution(128, 128))
        self.conv3, self.conv4 = convolution(128, 256), convolution(256, 512)
        self.res2 = torch.nn.Sequential(convolution(512, 512), convolution(512, 512))
        self.fc = torch.nn.Linear(512, CLASSES)

    def forward(self, x):
        pool = torch.nn.functional.max_pool2d
        x = pool(self.conv2(self.conv1(x)), 2)
        x = self.res1(x) + x
        x = pool(self.conv4(pool(self.conv3(x), 2)), 2)
        x = self.res2(x) + x
        return self.fc(x.mean((2, 3)))


def build(arch):
    if arch == "resnet9":
        return ResNet9()
    if arch != "vgg":
        return getattr(torchvision.models, arch)(num_classes=CLASSES)
    model = torchvision.models.vgg11_bn(num_classes=CLASSES, dropout=0.0)
    model.classifier[0] = torch.nn.Linear(512 * 49, 64)
    model.classifier[3] = torch.nn.Linear(64, 64)
    model.classifier[6] = torch.nn.Linear(64, CLASSES)
    return model


def run(arch, batch, size, images, norm_bias, steps, kind):
    with networks.arithmetic(kind) as (dtype, layout):
        model = build(arch)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    tensor.copy_(torch.from_numpy(formula.parameter(name, tuple(tensor.shape), norm_bias)))
        model = model.to(dtype).to(memory_format=layout).train()
        x = networks.normalized(images, batch, size, dtype).contiguous(memory_format=layout)
        labels = torch.from_numpy(formula.labels("labels", batch, CLASSES))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        losses = []
        for step in range(max(steps, 1)):
            optimizer.zero_grad()
            logits = model(x)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            loss.backward()
            losses.append(loss.item())
            if step == 0:
                result = {"loss": loss.item(), "logits": logits.detach().double().numpy(),
                          "gradients": {n: p.grad.double().numpy().copy() for n, p in model.named_parameters()},
                          "statistics": {n: b.double().numpy().copy() for n, b in model.named_buffers()
                                         if "running" in n}}
            optimizer.step()
        result["losses"] = losses if steps else []
    return result


def dump(arch, batch, size, images, norm_bias, steps, emulated):
    truth = run(arch, batch, size, images, norm_bias, steps, "float64")
    others = [run(arch, batch, size, images, norm_bias, steps, kind) for kind in networks.FP32]
    scale = math.sqrt(np.mean(truth["logits"] ** 2))
    error = max(float(np.abs(o["logits"] - truth["logits"]).max()) / scale for o in others)
    drift = [max(abs(o["losses"][i] - loss) for o in others) for i, loss in enumerate(truth["losses"])]
    head = {"arch": arch, "stem": "imagenet", "classes": CLASSES, "batch": batch, "size": size, "mode": "train",
            "images": images, "labels": "labels", "norm_bias": norm_bias, "emulated": emulated,
            "loss": truth["loss"], "logits": truth["logits"].tolist(), "losses": truth["losses"]}
    head = formula.rounded(head, 9) | {"tolerance": formula.rounded(10 * max(error, 1e-6), 2),
                                       "losses_tolerance": [formula.rounded(10 * max(d, 1e-6), 2) for d in drift]}
    # The gradient of a bias behind which a batch norm stands is zero but for rounding, so that there is
    # nothing to compare.
    found = {part: networks.errors(truth[part], [o[part] for o in others]) for part in ("gradients", "statistics")}
    print(arch, batch, size, f"loss {truth['loss']:.3f} error {error:.0e} drift {max(drift, default=0):.0e}",
          *(f"{part} median {np.median(list(e.values())):.0e} worst {max(e.values()):.0e}" for part, e in found.items()),
          flush=True)
    still = [n for n in found["gradients"] if n.startswith("features.") and n.endswith(".bias")
             and len(truth["gradients"][n.replace(".bias", ".weight")].shape) == 4]
    for name in still:
        truth["gradients"].pop(name), found["gradients"].pop(name)
    return json.dumps(head)[:-1] + "".join(
        f', "{part}": {networks.lines(networks.rows(truth[part], e))}' for part, e in found.items()) + "}"


def inventory():
    out = {}
    for arch in INVENTORY:
        with torch.device("meta"):
            model = getattr(torchvision.models, arch)(weights=None)
        text = "".join(f"{n} {list(t.shape)};" for n, t in model.state_dict().items() if t.dim())
        out[arch] = {"parameters": sum(p.numel() for p in model.parameters()), "digest": formula.fnv1a(text)}
    return out


cases = ",\n".join(dump(*case) for case in CASES)
path = DATA / "networks.json"
path.write_text(f'{{"inventory": {json.dumps(inventory())},\n"cases": [\n{cases}\n]}}\n')
print(path.name, path.stat().st_size, "bytes")
