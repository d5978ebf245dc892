"""Files that torch.save wrote, with every kind of tensor that we read.

Run: python tests/reference/generate_torch_files.py        (torch 2.11)

In types.pth each tensor `x` has a companion `x.float`: its values as torch converts them to float32.
"""

from collections import OrderedDict
from pathlib import Path

import torch

target = Path(__file__).parent / "data" / "torch"
target.mkdir(exist_ok=True)
generator = torch.Generator().manual_seed(1)
normal = torch.randn(4, 3, 2, generator=generator, dtype=torch.float64)
shared = torch.arange(24.0).reshape(2, 3, 4)

tensors = OrderedDict(
    f64=normal * 1e3,
    f32=normal.float(),
    f16=normal.half(),
    bf16=normal.bfloat16(),
    i64=torch.tensor([0, 1, -1, 2**53 + 1, -(2**63)]),
    scalar=torch.tensor(7),
    empty=torch.zeros(0, 3),
    parameter=torch.nn.Parameter(normal.float()),
    frozen=torch.nn.Parameter(normal.half(), requires_grad=False),
    shared=shared,
    permuted=shared.permute(2, 0, 1),
    part=shared[1, 1:, ::2],
    channels_last=torch.randn(2, 3, 5, 4, generator=generator).to(memory_format=torch.channels_last),
)
for name in list(tensors):
    tensors[name + ".float"] = tensors[name].detach().float().clone(memory_format=torch.contiguous_format)
torch.save(tensors, target / "types.pth")
torch.serialization.set_crc32_options(False)
torch.save(tensors, target / "types-no-crc.pth")
torch.serialization.set_crc32_options(True)

torch.manual_seed(1)
layers = OrderedDict(conv=torch.nn.Conv2d(3, 2, 3), norm=torch.nn.BatchNorm2d(2))
network = torch.nn.Sequential(layers)
optimizer = torch.optim.Adam(network.parameters(), 1e-3)
network(torch.randn(2, 3, 8, 8)).square().sum().backward()
optimizer.step()
torch.save(network.state_dict(), target / "network.pth")
torch.save({"model": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, target / "in-model.pth")
parallel = torch.nn.DataParallel(network).state_dict()
checkpoint = {"epoch": 3, "arch": "small", "state_dict": parallel, "lr": [0.1, 0.01]}
torch.save(checkpoint, target / "in-state-dict.pth")

# A whole module, and the form of before version 1.6.
torch.save(network, target / "module.pth")
torch.save(network.state_dict(), target / "legacy.pth", _use_new_zipfile_serialization=False)
print(*(f"{file.name} {file.stat().st_size}" for file in sorted(target.iterdir())), sep="\n")
