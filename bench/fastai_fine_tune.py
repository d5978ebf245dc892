"""fastai's fine_tune from weights in a file: what `onecycle finetune` is held against.

    python bench/fastai_fine_tune.py --data photos --init body.safetensors --size 64 --lr 2e-3
Prints JSON with the fields of `onecycle finetune --json` that are compared. The ResNet is torchvision's, its weights
those of --init (torchvision's names; the classifier is left out), the head fastai's own. Images are read and varied as
in pytorch_recipe.py, which is what onecycle does; everything else is vision_learner's default.
Versions used: fastai 2.8.7 (fastcore 1.8, fastprogress 1.0), torch 2.11.0, torchvision 0.26.0.
"""
import argparse
import json
import time
import warnings

import torch
import torchvision
import fastai.callback.progress  # no_bar
import fastai.callback.schedule  # fine_tune
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.torch_core import set_seed
from fastai.vision.learner import vision_learner
from safetensors.torch import load_file

import pytorch_recipe as recipe

warnings.filterwarnings("ignore")


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--data", required=True, help="folder with train/ and val/, valid/ or test/")
    p.add_argument("--init", required=True, help=".safetensors with torchvision's names")
    p.add_argument("--arch", choices=recipe.ARCHITECTURES, default="resnet34")
    p.add_argument("--size", type=int, default=224)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--freeze-epochs", type=int, default=1)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--workers", type=int, default=0, help="loader processes")
    return p.parse_args()


def main():
    o = options()
    set_seed(o.seed)
    train, valid = recipe.datasets(o.data, "standard", o.size, 0.875)
    loaders = DataLoaders(DataLoader(train, bs=o.batch_size, shuffle=True, drop_last=True, num_workers=o.workers),
                          DataLoader(valid, bs=o.batch_size, num_workers=o.workers), device=torch.device("cpu"))
    learn = vision_learner(loaders, getattr(torchvision.models, o.arch), pretrained=False, normalize=False,
                           n_out=len(train.classes), loss_func=CrossEntropyLossFlat(), metrics=accuracy)
    net = getattr(torchvision.models, o.arch)()
    missing, unexpected = net.load_state_dict(
        {k: v for k, v in load_file(o.init).items() if not k.startswith("fc.")}, strict=False)
    if unexpected or set(missing) != {"fc.weight", "fc.bias"}:
        raise SystemExit(f"{o.init}: not the weights of a {o.arch}: {missing or unexpected}")
    # fastai's body is a Sequential of torchvision's children, in their order.
    learn.model[0].load_state_dict(dict(zip(learn.model[0].state_dict(), net.state_dict().values())))
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(o.epochs, o.lr, freeze_epochs=o.freeze_epochs)
    seconds = time.perf_counter() - start
    rows = learn.recorder.values  # of the second stage: fine_tune fits twice
    print(json.dumps({"epochs": [{"train_loss": t, "valid_loss": v, "accuracy": a} for t, v, a in rows],
                      "max_lr": o.lr, "seconds": seconds}))


if __name__ == "__main__":
    main()
