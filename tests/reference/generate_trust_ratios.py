"""Ten updates of several tensors by timm's Lars and Lamb, for tests/ops/test_ops_pytorch.cpp.

    python tests/reference/generate_trust_ratios.py        (torch 2.11.0, timm 1.0.31, CPU)

Inputs are not stored: both sides compute them by `values`, exact in float32. The truth is computed in float64.
"""
import json
import pathlib

import timm
import torch
from timm.optim import Lamb, Lars

torch.set_num_threads(1)
STEPS = 10
# (elements, weight decay, share of the rate, weights are zero at first, gradients are always zero)
TENSORS = [(40, True, 1.0, False, False), (300, True, 0.5, False, False), (130, False, 1.0, False, False),
           (60, True, 1.0, True, False), (50, True, 1.0, False, True)]
DECAY = {"lars": 1e-2, "lamb": 5e-2}
RATE = {"lars": 2.0, "lamb": 0.05}


def values(n, seed):
    """Element k is ((k * 7919 + seed * 104729) mod 2003) / 1001 - 1, divided in float32."""
    k = torch.arange(n, dtype=torch.int64)
    return (((k * 7919 + seed * 104729) % 2003).to(torch.float32) / 1001 - 1).double()


def run(name, clip):
    weights = [(values(n, i + 1) * (0 if zero else 1)).requires_grad_(True)
               for i, (n, _, _, zero, _) in enumerate(TENSORS)]
    groups = [{"params": [w], "weight_decay": DECAY[name] if decays else 0.0}
              for w, (_, decays, _, _, _) in zip(weights, TENSORS)]
    if name == "lars":
        optimizer = Lars(groups, lr=1.0, momentum=0.9, foreach=False)
    else:
        optimizer = Lamb(groups, lr=1.0, betas=(0.9, 0.99), eps=1e-5, max_grad_norm=None, foreach=False)
    for step in range(STEPS):
        q = step / (STEPS - 1)
        for group, (_, _, share, _, _) in zip(optimizer.param_groups, TENSORS):
            group["lr"] = share * RATE[name] * (0.1 + 0.9 * q)
            momentum = 0.95 - 0.1 * q
            if name == "lars":
                group["momentum"] = momentum
            else:
                group["betas"] = (momentum, 0.99)
        for i, (w, (n, _, _, _, no_gradient)) in enumerate(zip(weights, TENSORS)):
            w.grad = values(n, 10 * (step + 1) + i) * (0 if no_gradient else 1)
        torch.nn.utils.clip_grad_norm_(weights, clip or 1e30)
        optimizer.step()
    return {"name": name, "clip": clip, "decay": DECAY[name], "rate": RATE[name],
            "w": [[float(f"{v:.9g}") for v in w.detach().tolist()] for w in weights]}


data = {"steps": STEPS, "tensors": [list(t) for t in TENSORS],
        "cases": [run(name, clip) for name in ("lars", "lamb") for clip in (0.0, 2.0)]}
path = pathlib.Path(__file__).parent / "data" / "trust_ratios.json"
path.write_text(json.dumps(data, separators=(",", ":")) + "\n")
print(path.name, path.stat().st_size, "bytes, torch", torch.__version__, "timm", timm.__version__)
