# SPDX-License-Identifier: Apache-2.0
"""Several processes under torchrun, or one: the same code, and the same numbers for the same global batch."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from dropclip_ros.networks.encoder import BatchNorm


def join() -> tuple[int, int, torch.device]:
    """Rank, number of processes and device of this one. Under torchrun the group is made: nccl on CUDA, else gloo."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if "RANK" not in os.environ:
        return 0, 1, device
    if cuda:
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return dist.get_rank(), dist.get_world_size(), device


def leave() -> None:
    """Leaves the group of processes, where there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def summed(value: Tensor) -> Tensor:
    """The sum over all processes; no gradient."""
    value = value.detach().clone()
    if world() > 1:
        dist.all_reduce(value)
    return value


class SyncedBatchNorm(nn.BatchNorm1d):
    """Batch norm of rows (N,C) with the moments of all processes' rows, on any device.

    torch's SyncBatchNorm does the same on CUDA and refuses the CPU. Moments weigh every row alike, however many of them
    each process has; gradients flow through the sums. Two passes, since a mean of squares less a squared mean cancels.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world() == 1:
            return super().forward(x)
        rows = x.float()
        total = all_reduce(torch.cat([rows.sum(0), rows.new_tensor([len(rows)])]))
        count = total[-1].detach()
        centred = rows - total[:-1] / count
        variance = all_reduce(centred.square().sum(0)) / count
        with torch.no_grad():
            self.running_mean.lerp_(total[:-1] / count, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        return (centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias).to(x.dtype)


def synchronise(encoder: nn.Module) -> None:
    """Has every batch norm of the encoder take its moments from all processes; names and values stay."""
    for module in encoder.modules():
        if isinstance(module, BatchNorm):
            old = module.bn
            kind = nn.SyncBatchNorm if old.weight.is_cuda else SyncedBatchNorm
            module.bn = kind(old.num_features, old.eps, old.momentum, device=old.weight.device)
            module.bn.load_state_dict(old.state_dict())
