# SPDX-License-Identifier: Apache-2.0
"""HGGD's two networks. Modules bear the names that the published checkpoint gives its tensors.

The anchor network looks at the whole image: where are grasps centred, how are they turned in the image's plane, how
wide and how deep are they? The local network looks at the points around a centre: how is the grasp turned out of the
image's plane, and by how much is its centre off?
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, relu

from dropclip_ros.grasping.hggd.config import HggdConfig

LEVELS = 5  # halvings of the trunk; what is said of cells, and the features, come after two doublings


class AnchorMaps(NamedTuple):
    """What the anchor network says of B images; h = ceil(H / CELL), w = ceil(W / CELL), K angles.

    heat (B, 1, H, W): logit of a centre. angle (B, K, h, w): logit of each class. turn, depth, width (B, K, h, w):
    the grasp's angle, depth and width relative to the class's, see `decode`. features (B, C, h, w).
    """

    heat: Tensor
    angle: Tensor
    turn: Tensor
    depth: Tensor
    width: Tensor
    features: Tensor


class AnchorNetwork(nn.Module):
    """Depth and colour (B, 4, H, W), of any size, to AnchorMaps. See `inputs.prepare` for what it expects."""

    def __init__(self, config: HggdConfig) -> None:
        super().__init__()
        trunk = config.trunk
        self.backbone = _named("net", _Trunk(4, trunk, config.blocks))
        channels = [trunk * 2**level for level in (4, 3, 2, 1, 0, 0)]
        self.trconv = nn.ModuleList(_Doubling(channels[i], channels[i + 1]) for i in range(LEVELS))
        self.hmap = _head(trunk, config.head, 1)
        self.cls_mask_conv = _head(config.features, config.head, config.angles)
        self.theta_offset_conv = _head(config.features, config.head, config.angles)
        self.width_offset_conv = _head(config.features, config.head, config.angles)
        self.depth_offset_conv = _head(config.features, config.head, config.angles)
        _initialise(self)

    def forward(self, images: Tensor) -> AnchorMaps:
        images = images.transpose(2, 3)  # the published kernels are for images that lie on their side
        stages = self.backbone(images)
        sizes = [images.shape[2:], *(stage.shape[2:] for stage in stages)]
        x = cells = stages[-1]
        for i, double in enumerate(self.trconv):
            level = LEVELS - 1 - i
            x = double(x + stages[level], sizes[level])
            cells = x if i == 1 else cells
        maps = (
            self.hmap(x),
            self.cls_mask_conv(cells),
            self.theta_offset_conv(cells),
            self.depth_offset_conv(cells),
            self.width_offset_conv(cells),
            cells.detach(),
        )
        return AnchorMaps(*(m.transpose(2, 3) for m in maps))


class LocalNetwork(nn.Module):
    """Regions to a score and an offset for each of A = rotations^2 anchors of the turn out of the image's plane.

    points (R, P, 3 + C): relative to the region's centre, m, and their features; info (R, 3): the centre's angle in the
    image (rad), width (px of the input) and depth (mm). Returns logits (R, A) and offsets (R, A, 3), see `decode`;
    anchor a is the pair gamma[a % rotations], beta[a // rotations].
    """

    def __init__(self, config: HggdConfig) -> None:
        super().__init__()
        wide, narrow = config.hidden
        anchors, info = config.rotations**2, config.info_channels
        self.pointnet = _PointNet(config.features, config.point_channels, config.hidden)
        self.point_layer = nn.Sequential(
            nn.Linear(config.point_channels[-1], wide), nn.LayerNorm(wide), nn.Dropout(0.3), nn.ReLU(inplace=True)
        )
        self.info_layer = nn.Linear(3, info)
        self.anchor_mlp = _perceptron(wide + info, narrow, anchors)
        self.offset_mlp = _perceptron(wide + info, narrow, anchors * 3)
        _initialise(self)

    def forward(self, points: Tensor, info: Tensor) -> tuple[Tensor, Tensor]:
        region = self.point_layer(self.pointnet(points.transpose(1, 2)))
        both = torch.cat([region, self.info_layer(info)], 1)
        return self.anchor_mlp(both), self.offset_mlp(both).unflatten(1, (-1, 3))


class HggdNetworks(nn.Module):
    """Both networks and the anchors of the local one: gamma, beta (rotations,), in quarter turns, within [-1, 1]."""

    def __init__(self, config: HggdConfig) -> None:
        super().__init__()
        self.config = config
        self.anchor = AnchorNetwork(config)
        self.local = LocalNetwork(config)
        even = (torch.arange(config.rotations) + 0.5) * 2 / config.rotations - 1
        self.register_buffer("gamma", even)
        self.register_buffer("beta", even.clone())


class _Trunk(nn.Module):
    """A ResNet without pooling: features of five resolutions, each half of the one before, rounded up."""

    def __init__(self, inputs: int, channels: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(inputs, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels), nn.LeakyReLU(inplace=True)
        )
        for stage, count in enumerate(blocks, start=1):
            inner, outer = channels * 2 ** (stage - 1), channels * 2**stage
            layers = [_Residual(inner, outer, 2), *(_Residual(outer, outer, 1) for _ in range(count - 1))]
            self.add_module(f"conv{stage + 1}_x", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        stages = []
        for stage in self.children():
            x = stage(x)
            stages.append(x)
        return stages


class _Residual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.residual_function = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.LeakyReLU(inplace=True),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        self.activation = nn.LeakyReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.residual_function(x) + self.shortcut(x))


class _Doubling(nn.Module):
    """Undoes a halving: to `size`, which is twice the input's or one less."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.deconv = nn.Sequential(
            nn.ConvTranspose2d(inner, outer, 4, 2, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        convolution, norm, activation = self.deconv
        padding = [1 + 2 * have - want for have, want in zip(x.shape[2:], size, strict=True)]
        x = conv_transpose2d(
            x, convolution.get_parameter("weight"), stride=2, padding=padding, output_padding=[p - 1 for p in padding]
        )
        return activation(norm(x))


class _PointNet(nn.Module):
    """Points and features (R, 3 + C, P) to one feature a region, whatever the order and repetition of the points."""

    def __init__(self, features: int, channels: tuple[int, int, int], hidden: tuple[int, int]) -> None:
        super().__init__()
        first, second, last = channels
        self.stn = _Alignment(channels, hidden)
        self.conv1, self.bn1 = nn.Conv1d(3, first, 1), nn.BatchNorm1d(first)
        self.conv2, self.bn2 = nn.Conv1d(first + features, second, 1), nn.BatchNorm1d(second)
        self.conv3, self.bn3 = nn.Conv1d(second, last, 1), nn.BatchNorm1d(last)

    def forward(self, x: Tensor) -> Tensor:
        points, features = x[:, :3], x[:, 3:]
        points = self.stn(points).transpose(1, 2) @ points
        x = torch.cat([relu(self.bn1(self.conv1(points))), features], 1)
        x = relu(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x)).amax(2)


class _Alignment(nn.Module):
    """Points (R, 3, P) to the linear map (R, 3, 3) that is applied to them first."""

    def __init__(self, channels: tuple[int, int, int], hidden: tuple[int, int]) -> None:
        super().__init__()
        first, second, last = channels
        wide, narrow = hidden
        self.conv1, self.bn1 = nn.Conv1d(3, first, 1), nn.BatchNorm1d(first)
        self.conv2, self.bn2 = nn.Conv1d(first, second, 1), nn.BatchNorm1d(second)
        self.conv3, self.bn3 = nn.Conv1d(second, last, 1), nn.BatchNorm1d(last)
        self.fc1, self.bn4 = nn.Linear(last, wide), nn.BatchNorm1d(wide)
        self.fc2, self.bn5 = nn.Linear(wide, narrow), nn.BatchNorm1d(narrow)
        self.fc3 = nn.Linear(narrow, 9)

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = relu(norm(convolution(x)))
        x = relu(self.bn4(self.fc1(x.amax(2))))
        x = self.fc3(relu(self.bn5(self.fc2(x))))
        return x.unflatten(1, (3, 3)) + torch.eye(3, dtype=x.dtype, device=x.device)


def _named(name: str, module: nn.Module) -> nn.Sequential:
    """The module under a name of the checkpoint's."""
    return nn.Sequential(OrderedDict([(name, module)]))


def _head(inner: int, middle: int, outer: int) -> nn.Sequential:
    layers = nn.Sequential(nn.Conv2d(inner, middle, 5, padding=2), nn.BatchNorm2d(middle), nn.ReLU(inplace=True))
    return nn.Sequential(_named("conv", layers), nn.Conv2d(middle, outer, 1))


def _perceptron(inner: int, middle: int, outer: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inner, middle), nn.LayerNorm(middle), nn.ReLU(inplace=True), nn.Linear(middle, outer)
    )


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
