"""Numbers that Python and C++ compute exactly alike: the weights, images and labels of the references.

The twin of formula.h. Element i of the tensor
called `name` is made of
    hash(name, i) = mix(mix(i) ^ fnv1a(name))        mix: MurmurHash3's 32-bit finaliser
    uniform(name, i) = (hash >> 8) / 2^23 - 1        in [-1, 1), exact in float
so it depends on no order and needs no state. Every further step is exact in double or a single rounded
operation, so that a compiler that contracts to fused multiply-adds cannot change a bit. Tensors are
counted in row-major order of PyTorch's shape.
"""
import math

import numpy as np

SAMPLES = 4


def fnv1a(name):
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def _mix(h):
    h = h ^ h >> np.uint32(16)
    h = h * np.uint32(0x85EBCA6B)
    h = h ^ h >> np.uint32(13)
    h = h * np.uint32(0xC2B2AE35)
    return h ^ h >> np.uint32(16)


def hashes(name, count):
    return _mix(_mix(np.arange(count, dtype=np.uint32)) ^ np.uint32(fnv1a(name)))


def uniform(name, count):
    return (hashes(name, count) >> np.uint32(8)).astype(np.float64) / 2.0**23 - 1.0


def parameter(name, shape, norm_bias=0.0):
    """The value of a tensor of a ResNet's state dict, float32.

    Convolution u*sqrt(6/fan_in), which is Kaiming's variance 2/fan_in; fc.weight u*sqrt(1/fan_in); fc.bias
    u/8; batch norm weight 1+u/8 and bias norm_bias+u/8, but 1/4+u/32 and u/8 in bn2 and bn3, so that
    rounding errors do not double from block to block; running_mean u/8 and running_var 1.5+u/2.
    """
    u = uniform(name, math.prod(shape))
    if len(shape) == 4:
        value = u * math.sqrt(6.0 / (shape[1] * shape[2] * shape[3]))
    elif len(shape) == 2:
        value = u * math.sqrt(1.0 / shape[1])
    elif name.endswith("running_var"):
        value = 1.5 + u / 2
    elif name.endswith(("running_mean", "fc.bias", "bn2.bias", "bn3.bias")):
        value = u / 8
    elif name.endswith(".bias"):
        value = norm_bias + u / 8
    elif name.endswith(("bn2.weight", "bn3.weight")):
        value = 0.25 + u / 32
    else:
        value = 1.0 + u / 8
    return value.astype(np.float32).reshape(shape)


def images(name, count, size):
    """uint8 [count, size, size, 3]: squares of 8x8 pixels, three parts, with noise, one part.

    Noise alone looks alike in every image: deep batch norms would divide by almost nothing, and no two
    computations in fp32 would agree.
    """
    grid = (size + 7) // 8
    coarse = (hashes(name + "/squares", count * grid * grid * 3) >> np.uint32(24)).reshape(count, grid, grid, 3)
    coarse = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :size, :size]
    fine = (hashes(name, count * size * size * 3) >> np.uint32(24)).reshape(count, size, size, 3)
    return ((3 * coarse + fine) >> np.uint32(2)).astype(np.uint8)


def labels(name, count, classes):
    return (hashes(name, count) % np.uint32(classes)).astype(np.int64)


def summary(name, values):
    """What stands for a whole tensor: [sum, norm, dot product with uniform(name + "/dot"), 4 samples].

    The projection on a random direction catches any wrong entry; the samples tell which convention is
    wrong when it does. Sample j is the element hash(name + "/samples", j) mod count.
    """
    v = np.asarray(values, np.float64).reshape(-1)
    places = hashes(name + "/samples", SAMPLES) % np.uint32(v.size)
    return [float(v.sum()), float(np.linalg.norm(v)), float(v @ uniform(name + "/dot", v.size)), v[places].tolist()]


def difference(got, want, count):
    """How far two summaries are apart, as a part of the tensor's norm. The scale of a sum is norm*sqrt(count)
    and that of one element norm/sqrt(count); rounding errors of a single element reach four times theirs."""
    sum_, norm, dot, samples = (np.asarray(g) - np.asarray(w) for g, w in zip(got, want))
    scale, root = want[1] or 1.0, math.sqrt(count)
    return float(max(abs(sum_) / (scale * root), abs(norm) / scale, abs(dot) / scale,
                     np.abs(samples).max() * root / (4 * scale)))


def rounded(value, digits):
    """Nested lists with floats cut to so many significant digits, for small JSON."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, (list, tuple)):
        return [rounded(v, digits) for v in value]
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    return value
