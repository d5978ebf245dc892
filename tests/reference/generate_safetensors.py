"""A file written by the reference safetensors library, with every element type that we read.

Run: python tests/reference/generate_safetensors.py        (safetensors 0.8.0, torch 2.11)

Each tensor `x` has a companion `x.float`: its values as torch converts them to float32.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

generator = torch.Generator().manual_seed(1)
normal = torch.randn(4, 3, 2, generator=generator, dtype=torch.float64)
halves = np.concatenate([np.arange(0, 1 << 16, 11), np.arange(0, 64), np.arange(0x8000, 0x8040)])
halves = torch.from_numpy(halves.astype(np.uint16).view(np.int16))

tensors = {
    "f64": normal * 1e3,
    "f32": normal.float(),
    "f16": halves.view(torch.float16),
    "bf16": halves.clone().view(torch.bfloat16),
    "i64": torch.tensor([0, 1, -1, 2**53 + 1, -(2**63)]),
    "i32": torch.tensor([0, 1, -1, 2**24 + 1, -(2**31)], dtype=torch.int32),
    "u8": torch.arange(256, dtype=torch.uint8).reshape(16, 16),
    "bool": torch.tensor([True, False, True]),
    "scalar": torch.tensor(7, dtype=torch.int64),
    "empty": torch.zeros(0, 3),
}
tensors |= {name + ".float": tensor.float().clone() for name, tensor in tensors.items()}
target = Path(__file__).parent / "data" / "reference.safetensors"
save_file(tensors, target, metadata={"format": "pt", "note": "é \" \\ \n"})
print(target, target.stat().st_size, "bytes")
