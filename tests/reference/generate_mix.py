"""Mixup and cutmix: the quantiles of Beta, batches that other libraries mix, and losses of pairs of labels.

Run: python tests/reference/generate_mix.py   (a few seconds)
Versions used: torch 2.11.0, torchvision 0.26.0, timm 1.0.31, scipy 1.17.1, numpy 2.4.6. Writes
tests/reference/data/mix.json. The random words are Philox's, computed here once more; what they mean is
src/rules/mix_rules.h. Boxes are torchvision's (v2.CutMix), batches are mixed by timm (Mixup, mode "elem"), losses are
PyTorch's with probabilities for targets.
"""
import json
import pathlib

import numpy as np
import scipy.stats
import timm.data.mixup
import torch
import torch.nn.functional as F
import torchvision.transforms.v2 as transforms

import formula

ALPHAS = [0.05, 0.2, 0.4, 1.0, 2.0, 8.0]
MIX = 8  # RandomPurpose::mix


def philox(counter, key):
    """Philox4x32-10 of Random123."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, p0 >> 32 ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def words(seed, update, micro, place):
    key = ((seed & 0xFFFFFFFF) ^ (MIX * 0x85EBCA6B & 0xFFFFFFFF), ((seed >> 32) + MIX) & 0xFFFFFFFF)
    return philox((0, update, place, micro), key)


def folded(alpha, share):
    """The quantile of max(x, 1 - x), x ~ Beta(alpha, alpha)."""
    return 1 - scipy.stats.beta(alpha, alpha).ppf((1 - np.asarray(share)) / 2)


def box_of(lam, centre, height, width):
    """torchvision's own arithmetic with its three random numbers given."""
    cutmix = transforms.CutMix(alpha=1.0, num_classes=2)
    cutmix._dist = type("Given", (), {"sample": staticmethod(lambda shape: torch.tensor(lam, dtype=torch.float64))})
    given = iter(centre)
    real, torch.randint = torch.randint, lambda *args, **kwargs: torch.tensor([next(given)])
    try:
        found = cutmix.make_params([torch.zeros(1, 3, height, width)])
    finally:
        torch.randint = real
    return found["box"], found["lam_adjusted"]


def draw(case, place):
    """("mixup", lambda, None) or ("cutmix", lambda, box)."""
    word = words(case["seed"], case["update"], case["micro"], place)
    cut = case["cutmix"] > 0 and (case["mixup"] == 0 or word[1] >= 1 << 31)
    lam = float(folded(case["cutmix" if cut else "mixup"], word[0] / 2.0**32))
    if not cut:
        return "mixup", lam, None
    lam = 1 - lam if word[1] & 1 else lam
    centre = [word[2] * case["width"] >> 32, word[3] * case["height"] >> 32]
    box, lam = box_of(lam, centre, case["height"], case["width"])
    return "cutmix", lam, box


def mixed(case):
    shape = (case["batch"], 3, case["height"], case["width"])
    x = torch.from_numpy(formula.uniform("mix.x", int(np.prod(shape))).reshape(shape))
    n = case["count"]
    draws = [draw(case, place) for place in range(n)]
    if n % 2:
        draws[n // 2] = ("mixup", 1.0, None)  # the middle one is alone
    mixer = timm.data.mixup.Mixup(mode="elem", num_classes=10)
    mixer._params_per_elem = lambda _: (np.array([lam for _, lam, _ in draws]),
                                        np.array([kind == "cutmix" for kind, _, _ in draws]))
    # timm asks for the boxes in the order of the samples, where lambda is not 1.
    boxes = iter([((b[1], b[3], b[0], b[2]), lam) for _, lam, b in draws if b and lam != 1])
    real, timm.data.mixup.cutmix_bbox_and_lam = timm.data.mixup.cutmix_bbox_and_lam, lambda *a, **k: next(boxes)
    try:
        mixer._mix_elem(x[:n])
    finally:
        timm.data.mixup.cutmix_bbox_and_lam = real
    return case | {"x": formula.rounded(x.flatten().tolist(), 8),
                   "weight": formula.rounded([lam for _, lam, _ in draws], 9),
                   "box": [list(b) if b else None for _, _, b in draws]}


def losses():
    cases = []
    logits = torch.from_numpy(3 * formula.uniform("mix.logits.24", 48).reshape(6, 8))
    first, second = torch.tensor([3, 0, 7, 2, 2, 5]), torch.tensor([5, 2, 2, 2, 0, 3])
    share = torch.from_numpy(np.float32([0.75, 0.5, 0.9, 0.6, 0.2, 1.0])).double()
    weights = torch.from_numpy(np.float32(1.25 + formula.uniform("mix.weights", 8))).double()
    for smoothing in (0.0, 0.1):
        for weighted in (False, True):
            v = weights if weighted else torch.ones(8, dtype=torch.float64)
            x = logits.clone().requires_grad_(True)
            target = share[:, None] * F.one_hot(first, 8) + (1 - share[:, None]) * F.one_hot(second, 8)
            total = (target @ v).sum()
            loss = F.cross_entropy(x, target, weight=v, label_smoothing=smoothing, reduction="sum") / total
            loss.backward()
            # The form of fastai's MixHandler: the mean of two losses.
            two = [F.cross_entropy(x, y, weight=v, label_smoothing=smoothing, reduction="none")
                   for y in (second, first)]
            assert torch.allclose(torch.lerp(*two, share).sum() / total, loss, rtol=1e-12)
            heavier = torch.where(share < 0.5, second, first)
            correct = int((logits.argmax(1) == heavier).sum())
            cases.append({"smoothing": smoothing, "weighted": weighted, "loss": loss.item(), "total": total.item(),
                          "correct": correct, "dlogits": formula.rounded(x.grad.flatten().tolist(), 9)})
    return cases


def distributions():
    shares = [round(x, 6) for x in np.linspace(0.0123, 0.9973, 60).tolist()]
    result = []
    for alpha in ALPHAS:
        fine = folded(alpha, (np.arange(200000) + 0.5) / 200000)
        result.append({"alpha": alpha, "shares": shares, "quantiles": formula.rounded(folded(alpha, shares).tolist(), 9),
                       "mean": float(fine.mean()), "deviation": float(fine.std())})
    return result


def mean_kept(alpha, height, width, draws=100000):
    """The mean and deviation of what torchvision's CutMix leaves of an image."""
    rng = np.random.default_rng(1)
    kept = [box_of(lam, (rng.integers(width), rng.integers(height)), height, width)[1]
            for lam in rng.beta(alpha, alpha, draws)]
    return {"alpha": alpha, "height": height, "width": width, "mean": float(np.mean(kept)),
            "deviation": float(np.std(kept))}


base = {"mixup": 0.0, "cutmix": 0.0, "seed": 3, "update": 7, "micro": 0, "batch": 6, "count": 6, "height": 4, "width": 8}
batches = [mixed(base | more) for more in (
    {"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0, "batch": 7, "count": 7, "height": 5, "width": 3},
    {"mixup": 1.0, "cutmix": 0.5, "seed": 1 << 40 | 9, "update": 1000, "micro": 2, "batch": 8, "count": 5},
    {"cutmix": 2.0, "batch": 2, "count": 2, "height": 1, "width": 16})]
data = {"distributions": distributions(), "kept": [mean_kept(1.0, 32, 48), mean_kept(0.3, 17, 17)], "batches": batches,
        "losses": losses()}
path = pathlib.Path(__file__).parent / "data" / "mix.json"
path.write_text(json.dumps(data, separators=(",", ":")) + "\n")
print(path.name, path.stat().st_size, "bytes")
