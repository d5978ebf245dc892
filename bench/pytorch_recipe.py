"""Our training recipe in PyTorch: what pytorch_cpu.py and fastai_lr_find.py train with.

A folder with train/ and val/ (or valid/, test/) of class folders; Pillow decodes, torchvision augments;
torchvision's ResNet with its own initialisation; SGD, weight decay added to the gradient but not on batch
norm and biases; the default one-cycle policy.
"""
import math
import pathlib

import torch
import torchvision
from PIL import Image, ImageOps
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ARCHITECTURES = ("resnet18", "resnet34", "resnet50")


def load_image(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


class Evaluation(torch.nn.Module):
    """Short side to round(size / crop_pct), centre crop; an image of exactly the size stays as it is."""

    def __init__(self, size, crop_pct):
        super().__init__()
        self.size = size
        self.resize = v2.Compose([v2.Resize(round(size / crop_pct)), v2.CenterCrop(size)])

    def forward(self, image):
        return image if image.size == (self.size, self.size) else self.resize(image)


def views(augment, size, crop_pct):
    """(training, evaluation) transforms, from a PIL image to a normalised tensor."""
    evaluation = Evaluation(size, crop_pct)
    training = {"none": [evaluation],
                "flip": [evaluation, v2.RandomHorizontalFlip()],
                "standard": [v2.RandomResizedCrop(size, scale=(0.35, 1.0), ratio=(3 / 4, 4 / 3)),
                             v2.RandomHorizontalFlip()]}[augment]
    finish = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    return v2.Compose(training + finish), v2.Compose([evaluation] + finish)


def datasets(folder, augment, size, crop_pct):
    """(training, evaluation) datasets."""
    folder = pathlib.Path(folder)
    held_out = next((folder / n for n in ("val", "valid", "test") if (folder / n).is_dir()), None)
    if held_out is None or not (folder / "train").is_dir():
        raise SystemExit(f"{folder}: needs train/ and one of val/, valid/, test/")
    transforms = views(augment, size, crop_pct)
    return tuple(torchvision.datasets.ImageFolder(d, t, loader=load_image)
                 for d, t in zip((folder / "train", held_out), transforms))


def loader(dataset, batch_size, training, workers, seed):
    """Training: shuffled from the seed, the last part batch dropped unless it is the only one."""
    generator = torch.Generator().manual_seed(seed)
    return torch.utils.data.DataLoader(
        dataset, batch_size, shuffle=training, drop_last=training and len(dataset) >= batch_size,
        num_workers=workers, persistent_workers=workers > 0, generator=generator)


def model(arch, classes, stem="imagenet"):
    net = getattr(torchvision.models, arch)(num_classes=classes)
    if stem == "small":
        net.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        torch.nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = torch.nn.Identity()
    return net


def parameter_groups(net, weight_decay):
    decayed = [p for p in net.parameters() if p.ndim > 1]
    free = [p for p in net.parameters() if p.ndim <= 1]  # batch norm and biases
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def optimizer(net, weight_decay):
    # fused is the fastest of PyTorch's three implementations on a CPU; rate and momentum come by
    # the step.
    return torch.optim.SGD(parameter_groups(net, weight_decay), lr=0.0, momentum=0.9, fused=True)


def one_cycle(step, steps, max_lr, low=0.85, high=0.95, pct=0.25, div=25.0, final_div=1e4):
    """(rate, momentum) of update `step` of `steps`: the policy `onecycle`."""
    def cosine(a, b, q):
        return b + (a - b) / 2 * (1 + math.cos(math.pi * q))
    last = steps - 1
    peak = pct * last
    if step < peak:
        q = step / peak
        return cosine(max_lr / div, max_lr, q), cosine(high, low, q)
    q = (step - peak) / (last - peak) if last else 0.0
    return cosine(max_lr, max_lr / div / final_div, q), cosine(low, high, q)


def train_step(net, opt, criterion, x, y, lr, momentum):
    """One update; the batch's loss before it."""
    for group in opt.param_groups:
        group["lr"], group["momentum"] = lr, momentum
    loss = criterion(net(x), y)
    opt.zero_grad(set_to_none=True)
    loss.backward()
    opt.step()
    return loss.item()
