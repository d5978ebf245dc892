"""Outputs and gradients of single layers, losses and optimizers by PyTorch, for tests/ops/test_ops_pytorch.cpp.

    python tests/reference/generate_layers.py        (torch 2.11.0, CPU)

Inputs are not stored: both sides compute them by `values`, exact in float32.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.set_num_threads(1)


def values(shape, seed):
    """Element k is ((k * 7919 + seed * 104729) mod 2003) / 1001 - 1, divided in float32."""
    n = 1
    for d in shape:
        n *= d
    k = torch.arange(n, dtype=torch.int64)
    return (((k * 7919 + seed * 104729) % 2003).to(torch.float32) / 1001 - 1).reshape(shape)


def numbers(tensor):
    return [float(f"{v:.7g}") for v in tensor.detach().flatten().tolist()]


def with_gradients(outputs, inputs, seed=99):
    """The first output, and the gradients of sum(output * values) by every input."""
    for t in inputs.values():
        t.requires_grad_(True)
    y = outputs(**inputs)
    y.backward(values(y.shape, seed))
    return {"y": numbers(y), **{"d" + name: numbers(t.grad) for name, t in inputs.items()}}


def convolutions():
    cases = []
    for n, i, h, w, o, kernel, stride, padding in [
        (1, 3, 9, 7, 16, 7, 2, 3),
        (1, 16, 6, 7, 16, 3, 1, 1),
        (2, 16, 5, 5, 16, 3, 2, 1),
        (2, 16, 3, 4, 32, 1, 2, 0),
        (1, 32, 4, 3, 16, 1, 1, 0),
        (1, 5, 6, 7, 3, 3, 1, 1),
    ]:
        result = with_gradients(
            lambda x, w: F.conv2d(x, w, stride=stride, padding=padding),
            {"x": values((n, i, h, w), 1), "w": values((o, i, kernel, kernel), 2)},
        )
        cases.append({"shape": [n, i, h, w, o, kernel, stride, padding], **result})
    return cases


def batch_norms():
    cases = []
    for relu in (False, True):
        for residual in (False, True):
            shape = (3, 16, 2, 3)
            inputs = {"x": values(shape, 1), "gamma": values((16,), 2), "beta": values((16,), 3)}
            if residual:
                inputs["residual"] = values(shape, 4)
            mean, variance = values((16,), 5), values((16,), 6) + 1.5
            eval_mean, eval_variance = mean.clone(), variance.clone()

            def forward(x, gamma, beta, residual=None, training=True):
                m, v = (mean, variance) if training else (eval_mean, eval_variance)
                y = F.batch_norm(x, m, v, gamma, beta, training=training, momentum=0.1, eps=1e-5)
                y = y if residual is None else y + residual
                return F.relu(y) if relu else y

            with torch.no_grad():
                inference = numbers(forward(**inputs, training=False))
            result = with_gradients(forward, inputs)
            cases.append({"relu": relu, "residual": residual, "shape": shape, "inference": inference,
                          "running_mean": numbers(mean), "running_variance": numbers(variance), **result})
    return cases


def pools_and_linear():
    x = (2, 8, 9, 7)
    return {
        "max_pool": with_gradients(lambda x: F.max_pool2d(x, 3, 2, 1), {"x": values(x, 1)}),
        "average_pool": with_gradients(lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1), {"x": values(x, 1)}),
        "linear": with_gradients(lambda x, w, b: F.linear(x, w, b),
                                 {"x": values((5, 37), 1), "w": values((7, 37), 2), "b": values((7,), 3)}),
        "softmax": numbers(F.softmax(3 * values((5, 7), 1), 1)),
    }


def losses():
    cases = []
    for smoothing in (0.0, 0.1):
        for weighted in (False, True):
            logits = (3 * values((6, 8), 1)).requires_grad_(True)
            labels = torch.tensor([3, 0, 7, 2, 2, 5])
            loss = F.cross_entropy(logits, labels, weight=values((8,), 2) + 1.25 if weighted else None,
                                   label_smoothing=smoothing)
            loss.backward()
            cases.append({"smoothing": smoothing, "weighted": weighted, "loss": loss.item(),
                          "dlogits": numbers(logits.grad)})
    return cases


def optimizers():
    """Twelve updates of one vector with a rate and a momentum that change, as under one-cycle."""
    cases = []
    for name, make in {
        "sgd": lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=1e-2, foreach=False),
        "nesterov": lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=1e-2, nesterov=True, foreach=False),
        "adam": lambda p: torch.optim.Adam(p, lr=1, betas=(0.9, 0.99), eps=1e-5, weight_decay=1e-2, foreach=False),
        "adamw": lambda p: torch.optim.AdamW(p, lr=1, betas=(0.9, 0.99), eps=1e-5, weight_decay=1e-2, foreach=False),
    }.items():
        for clip in (0.0, 2.0):
            w = values((40,), 1).requires_grad_(True)
            optimizer = make([w])
            norms = []
            for step in range(12):
                q = step / 11
                for group in optimizer.param_groups:
                    group["lr"] = 0.01 + 0.09 * q
                    if "betas" in group:
                        group["betas"] = (0.95 - 0.1 * q, 0.99)
                    else:
                        group["momentum"] = 0.95 - 0.1 * q
                w.grad = values((40,), 10 + step)
                norms.append(torch.nn.utils.clip_grad_norm_([w], clip or 1e30).item())
                optimizer.step()
            cases.append({"name": name, "clip": clip, "w": numbers(w), "norms": norms})
    return cases


data = {"convolutions": convolutions(), "batch_norms": batch_norms(), **pools_and_linear(), "losses": losses(),
        "optimizers": optimizers()}
path = pathlib.Path(__file__).parent / "data" / "layers.json"
path.write_text(json.dumps(data, separators=(",", ":")) + "\n")
print(path.name, path.stat().st_size, "bytes, torch", torch.__version__)
