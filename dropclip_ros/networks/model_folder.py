# SPDX-License-Identifier: Apache-2.0
"""A model folder: config.json, encoder.safetensors and, optionally, text_adapter, image_tower and names.safetensors.

Kernels are stored in fp16 and computed in fp32, or in 16 bits where that is faster (`quickest`). Every tensor file's
SHA-256 stands in config.json.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import check_sha256, load_tensors, mismatch, sha256_of, write_beside
from dropclip_ros.base.reading import Unreadable, parse_json, read_text
from dropclip_ros.networks.backbone import Backbone
from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D, SparseConv
from dropclip_ros.networks.image import ImageConfig
from dropclip_ros.networks.names import NameBank, Names, NamesConfig
from dropclip_ros.networks.text import TextConfig, is_sha256
from dropclip_ros.networks.unfilled import unfilled
from dropclip_ros.sparse import make_grid
from dropclip_ros.vision.voxels import VoxelConfig

CONFIG = "config.json"
ENCODER = "encoder.safetensors"
ADAPTER = "text_adapter.safetensors"
IMAGE = "image_tower.safetensors"
NAMES = "names.safetensors"
FILES = (ENCODER, ADAPTER, IMAGE, NAMES)
AXES = ("table", "camera", "world")
NEGATIVES = ("object", "thing", "texture", "stuff")  # the paper's canonical ones


@dataclass(frozen=True)
class FrameConfig:
    """How points reach the encoder: as it was trained.

    axes: "table", ours (z up from the table, x the image's right), "camera", the optical frame, or "world", that of
    the camera's pose, z up. centred: whether the points' mean is moved to the origin before they are cut into voxels;
    a shift by less than 16 voxels changes what the coarse levels see.
    """

    axes: Literal["table", "camera", "world"] = "table"
    centred: bool = False

    def __post_init__(self) -> None:
        if self.axes not in AXES:
            raise ValueError(f"axes must be one of {', '.join(AXES)}; got {self.axes!r}")
        if not isinstance(self.centred, bool):
            raise ValueError(f"centred must be true or false; got {self.centred!r}")


@dataclass(frozen=True)
class ModelConfig:
    """Everything a model folder needs besides its tensors.

    temperature: gamma of section 3.4. null_similarity: the constant cosine of "none of these", which lets a scene
    hold nothing that a phrase means. threshold: of the score, in (0, 1). multilingual: whether the text tower speaks
    other languages than English. image: the tower for the frame's own crops, None for the encoder alone; one of
    open_clip is the other half of the text tower. names: how much the names of what the picture shows count, None for
    the encoder alone. frame: the axes that the encoder sees points in, and whether their mean is the origin
    (`FrameConfig`). sha256: hex digest of each tensor file, filled in by `save_model`.
    """

    name: str
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    voxels: VoxelConfig = field(default_factory=VoxelConfig)
    frame: FrameConfig = field(default_factory=FrameConfig)
    text: TextConfig = field(default_factory=TextConfig)
    image: ImageConfig | None = None
    names: NamesConfig | None = None
    temperature: float = 0.1
    null_similarity: float = 0.0
    threshold: float = 0.5
    canonical_negatives: tuple[str, ...] = NEGATIVES
    multilingual: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "canonical_negatives", tuple(self.canonical_negatives))
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name must be a non-empty text; got {self.name!r}")
        for name, low, high in (("temperature", 1e-4, 100), ("null_similarity", -1, 1), ("threshold", 1e-6, 1 - 1e-6)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(f"{name} must be a number in [{low}, {high}]; got {value!r}")
        if not all(isinstance(text, str) and text.strip() for text in self.canonical_negatives):
            raise ValueError(f"canonical_negatives must be non-empty texts; got {self.canonical_negatives!r}")
        if self.image is not None and self.image.source not in (None, self.text.source):
            raise ValueError(
                f"image is of {self.image.source} and text of {self.text.source}: the two towers of a model belong "
                "together, others do not meet in one space"
            )
        if not isinstance(self.sha256, Mapping):
            raise ValueError(f"sha256 must map file names to digests; got {self.sha256!r}")
        for file, digest in self.sha256.items():
            if file not in FILES or not is_sha256(digest):
                raise ValueError(f"sha256 maps {', '.join(FILES)} to 64 hex digits; got {file!r}: {digest!r}")

    @property
    def encoder_names(self) -> bool:
        """Whether the encoder's features are compared with phrases; otherwise it only tells objects apart."""
        return self.image is None or not self.image.names_alone

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """ValueError where the text is no JSON, a key is unknown or missing, or a value is out of range."""
        try:
            data = _fields_of(cls, parse_json(text), "")
        except Unreadable as error:
            raise ValueError(str(error)) from error
        parts = {
            "encoder": EncoderConfig,
            "voxels": VoxelConfig,
            "frame": FrameConfig,
            "text": TextConfig,
            "image": ImageConfig,
            "names": NamesConfig,
        }
        for name, part in parts.items():
            if name in data and not (name in ("image", "names") and data[name] is None):
                data[name] = _build(part, data[name], name)
        return _build(cls, data, "")


def _fields_of(cls: type, data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{where or 'the configuration'} must be an object; got {type(data).__name__}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ValueError(f"unknown key {_path(where, unknown[0])}; known are {', '.join(fields)}")
    return dict(data)


def _build(cls: type, data: Any, where: str) -> Any:
    try:
        return cls(**_fields_of(cls, data, where))
    except TypeError as error:  # a missing key, or a value whose kind the range check cannot compare
        raise ValueError(f"{where or 'the configuration'}: {error}") from error


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def save_model(
    folder: str | Path,
    encoder: MinkUNet14D,
    config: ModelConfig,
    text_adapter: Tensor | None = None,
    mean_object: Tensor | None = None,
    image_tower: Mapping[str, Tensor] | None = None,
) -> ModelConfig:
    """Writes a model folder and returns the config as written, digests filled in.

    Each file is written beside its place and renamed, the config last: a folder cut off half-way is refused by
    `load_model`, never half used. text_adapter (C, C) and, beside it, mean_object (C,): see `TextEncoder`. image_tower:
    the state dict of config.image, where that is a "vit". Names are added by `save_names`. ValueError where the
    encoder is not what config.encoder says (a fused one is not), or a value does not fit fp16.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu() for name, tensor in encoder.state_dict().items()}
    problem = _mismatch(state, config.encoder)
    if problem:
        raise ValueError(f"the encoder is not the one of the configuration: {problem}")
    files = {ENCODER: {name: _stored(name, tensor) for name, tensor in state.items()}}
    if text_adapter is not None:
        files[ADAPTER] = {"adapter": _stored("adapter", text_adapter.detach().cpu())}
        if mean_object is not None:
            files[ADAPTER]["mean_object"] = mean_object.detach().cpu().contiguous()
    if image_tower is not None:
        files[IMAGE] = {name: _stored(name, tensor.detach().cpu()) for name, tensor in image_tower.items()}
    digests = {name: _write_tensors(folder / name, tensors) for name, tensors in files.items()}
    for name in set(FILES) - set(files):
        (folder / name).unlink(missing_ok=True)
    config = dataclasses.replace(config, names=None, sha256=digests)
    write_config(folder, config)
    return config


def save_names(folder: str | Path, config: NamesConfig, bank: NameBank) -> None:
    """Adds names to a model folder, or replaces them."""
    folder = Path(folder)
    model = load_config(folder)
    digest = _write_tensors(folder / NAMES, *bank.tensors())
    write_config(folder, dataclasses.replace(model, names=config, sha256={**model.sha256, NAMES: digest}))


def load_names(folder: str | Path, config: NamesConfig, device: torch.device) -> Names:
    """What looks at the frame's picture: the names of a model folder, over the backbone. MODEL_ERROR where either
    cannot be had."""
    path = Path(folder) / NAMES
    try:
        bank = NameBank.load(path)
    except ValueError as error:
        raise DropclipError(Status.MODEL_ERROR, f"{path} does not fit {CONFIG}: {error}") from error
    return Names(config, bank, Backbone(device, half_precision(device)))


def write_config(folder: Path, config: ModelConfig) -> None:
    """config.json, written beside its place and renamed."""
    with write_beside(folder / CONFIG) as part:
        part.write_text(config.to_json(), encoding="utf-8")


def load_config(folder: str | Path) -> ModelConfig:
    """Reads config.json. MODEL_ERROR where it is missing or wrong."""
    path = Path(folder) / CONFIG
    try:
        return ModelConfig.from_json(read_text(path))
    except OSError as error:
        raise DropclipError(
            Status.MODEL_ERROR, f"no model at {folder}: cannot read {CONFIG} ({error.strerror}); give a model folder"
        ) from error
    except ValueError as error:
        raise DropclipError(Status.MODEL_ERROR, f"{path} is not a model configuration: {error}") from error


def load_model(
    folder: str | Path, device: str | torch.device = "cpu", fuse: bool = True, measure: bool = True
) -> tuple[MinkUNet14D, ModelConfig]:
    """The encoder (eval mode, on `device`) and the configuration of a model folder.

    fuse: fold batch norms into kernels, for inference, convolve in 16 bits where `quickest` finds that faster; False
    keeps the state dict as it was saved, in fp32. measure: False folds and stays in fp32, for who asks once: measuring
    takes longer than a frame.
    MODEL_ERROR where a file is missing, truncated, of another digest, or holds other tensors than the config says.
    """
    folder = Path(folder)
    config = load_config(folder)
    if ENCODER not in config.sha256:
        raise DropclipError(Status.MODEL_ERROR, f"{folder / CONFIG} holds no sha256 of {ENCODER}; save the model again")
    for name in (ADAPTER, IMAGE, NAMES):
        if (folder / name).exists() and name not in config.sha256:
            raise DropclipError(
                Status.MODEL_ERROR, f"{folder / name} is not listed in {CONFIG}; remove it or save the model again"
            )
    for name, digest in config.sha256.items():
        check_sha256(folder / name, digest)
    state = load_tensors(folder / ENCODER)
    problem = _mismatch(state, config.encoder)
    if problem:
        raise DropclipError(Status.MODEL_ERROR, f"{folder / ENCODER} does not fit {CONFIG}: {problem}")
    with unfilled():
        encoder = MinkUNet14D(config.encoder)
    full = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    encoder.load_state_dict(full, assign=True)
    encoder.eval().requires_grad_(not fuse).to(device)
    if fuse:
        encoder = quickest(encoder) if measure else encoder.fuse()
    return encoder, config


def quickest(encoder: MinkUNet14D) -> MinkUNet14D:
    """The encoder fused, in half precision where its device has one and then is a quarter faster there."""
    half = half_precision(encoder.final.kernel.device)
    if half is None:
        return encoder.fuse()
    choices = [copy.deepcopy(encoder).fuse(half), encoder.fuse()]
    try:
        # one convolution first: whole passes in bf16 leave 130 MB in oneDNN's cache, for nothing where they are slower
        for whole in (False, True):
            if _seconds(choices[0], whole) >= 0.8 * _seconds(choices[1], whole):
                return choices[1]
    except (RuntimeError, ValueError):  # a grid without this type; what ails fp32 too shows there
        return choices[1]
    return choices[0]


def half_precision(device: torch.device) -> torch.dtype | None:
    """The type of 16 bits that a device multiplies in faster than in fp32, where it has one.

    On CUDA bf16, which keeps fp32's range, from Ampere on (Orin is one); fp16 on older ones, which have nothing else.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and multiplies_bf16() else None


def multiplies_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor says so; others only emulate it, slowly."""
    try:
        words = read_text(cpuinfo, errors="replace").split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(words)


@torch.inference_mode()
@torch.no_grad()
def _seconds(encoder: MinkUNet14D, whole: bool) -> float:
    """The least time of a few passes over a plane and a wall of voxels, about 5,000, once it is compiled; or, not
    `whole`, of two of its convolutions over the plane, a wide one and a narrow one."""
    place = encoder.final.kernel.device
    floor = torch.cartesian_prod(torch.arange(50), torch.arange(50), torch.zeros(1, dtype=torch.long))
    if whole:
        coords = torch.cat([floor, floor[:, [0, 2, 1]] + torch.tensor([0, 50, 1])]).to(place)
        feats = torch.rand(len(coords), encoder.config.in_channels, device=place)
        return _least(lambda: encoder.decode(coords, feats))
    grid, total = make_grid(floor.to(place)), 0.0
    for name in ("block5.0.conv2", "block8.0.conv2"):
        conv = cast(SparseConv, encoder.get_submodule(name))
        rows = torch.rand(len(floor), conv.kernel.shape[1], device=place).to(conv.kernel.dtype)
        total += _least(partial(conv, rows, grid, 0, 0))
    return total


def _least(compute: Callable[[], Tensor], rounds: int = 4) -> float:
    """The least time of a few rounds, s."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        compute()[0, 0].item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    return min(times)


def _mismatch(state: Mapping[str, Tensor], config: EncoderConfig) -> str | None:
    """The first difference between a state dict and the one an encoder of this config has."""
    with unfilled():
        expected = MinkUNet14D(config).state_dict()
    return mismatch(state, expected)


def _stored(name: str, tensor: Tensor) -> Tensor:
    """fp16 for matrices; the small vectors of batch norm keep their precision."""
    if not tensor.is_floating_point() or tensor.ndim < 2:
        return tensor.contiguous()
    half = tensor.half().contiguous()
    if not torch.isfinite(half).all():
        raise ValueError(f"tensor {name} does not fit fp16: largest absolute value {tensor.abs().max():.3g}")
    return half


def _write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, str] | None = None) -> str:
    from safetensors.torch import save_file

    with write_beside(path) as part:
        save_file(tensors, part, about)
        return sha256_of(part)
