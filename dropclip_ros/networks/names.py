# SPDX-License-Identifier: Apache-2.0
"""What the frame's picture says an instance is called, and what such names have to do with a phrase.

A classifier of photographs (`networks.backbone`) knows ImageNet's thousand names, and a layer over its features knows
those of our own objects. A phrase is compared with names, not with pixels: "something to drink coffee from" is near to
"coffee mug" in the space of the sentence encoder. So the likelihood of a phrase is the mean of its nearness to the
names, weighted by how likely each is (as ConSE, arXiv 1312.5650, but of nearness, not of the embeddings).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_closing, binary_dilation, find_objects
from scipy.special import expit
from torch import Tensor

from dropclip_ros.base.files import load_tensors
from dropclip_ros.base.reading import parse_json, read_about
from dropclip_ros.networks.backbone import CLASSES, FEATURES, Backbone
from dropclip_ros.networks.colours import BINS, COLOURS, TERMS
from dropclip_ros.networks.image import CLOSING, square_box

CROP = 192  # px, side of a crop; the classifier was trained on 260, which takes twice as long
EXPANSION = 1.1  # of the crop over the box of the instance
MOST = 64  # instances that are looked at, the largest
EDGE, ROOM = 3, 40  # px around an instance that are its own, and that a crop may show of what is beside it
WORDINGS = ("use", "colour", "name")
FLOATS = ("imagenet", "said", "weight", "bias", "colours")  # tensors of a file of names, beside `of`


def wording(phrase: str) -> str:
    """How a phrase describes: by a use ("something to ..."), by a colour, or by a name."""
    words = [word.strip(",.!?") for word in phrase.casefold().split()]
    said = [word for word in words if word not in ("the", "a", "an")]
    if len(said) > 1 and COLOURS & set(said):  # "the orange" is no colour
        return "colour"
    return "use" if words[:1] in (["something"], ["anything"], ["i"]) or {"to", "for"} & set(words) else "name"


@dataclass(frozen=True)
class Say:
    """What counts how much for phrases of one wording: the encoder's cosine, the log-likelihood ratios of ImageNet's
    names and of our own, what is read, and the colours that a phrase says. The sum of all and `offset` is the log-odds
    that an instance is meant."""

    encoder: float
    names: float
    own: float
    labels: float
    offset: float
    colours: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not -1e3 < value < 1e3:
                raise ValueError(f"{each.name} must be a number in (-1000, 1000); got {value!r}")


@dataclass(frozen=True)
class NamesConfig:
    """How names are told apart, and how much they count beside the encoder.

    smoothing: temperature of the classifier's softmax. nearness: temperature of cosines of phrases with names. say: by
    wording. confidence: what an answer's log-odds, their lead over those of all other instances, and one count for in
    the log-odds of its being right; doubtful: the confidence under which it should be confirmed.
    """

    say: Mapping[str, Say]
    smoothing: float = 1.5
    nearness: float = 0.07
    confidence: tuple[float, float, float] = (1.0, 0.0, 0.0)
    doubtful: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "confidence", tuple(self.confidence))
        if not isinstance(self.say, Mapping) or set(self.say) != set(WORDINGS):
            raise ValueError(f"say must have {', '.join(WORDINGS)}; got {self.say!r}")
        say = {key: each if isinstance(each, Say) else Say(**each) for key, each in self.say.items()}
        object.__setattr__(self, "say", say)
        for name in ("smoothing", "nearness"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e3:
                raise ValueError(f"{name} must be a number in (0, 1000); got {value!r}")
        if len(self.confidence) != 3 or not 0 <= self.doubtful <= 1:
            raise ValueError(f"confidence must be three numbers and doubtful in [0, 1]; got {asdict(self)}")

    def confidence_of(self, odds: float, other: float) -> float:
        """How often an answer of these log-odds is right, where the best of all other instances has those."""
        return float(expit(np.dot(self.confidence, confidence_features(odds, other))))


def confidence_features(odds: float, other: float) -> tuple[float, float, float]:
    """What confidence is made of: log-odds, lead, and one; beyond 5 both say no more."""
    return float(np.clip(odds, -5, 5)), float(np.clip(odds - other, -5, 5)), 1.0


@dataclass(frozen=True)
class NameBank:
    """The names that are known: ImageNet's thousand, then N our own.

    imagenet (1000,C): their unit embeddings. said (P,C): unit embeddings of what is said of names; of (R,2) int:
    which of these phrases is said of which name, ImageNet's 0..999, then our own. weight (N,1280), bias (N,): the
    layer that tells our own from each other and from ImageNet's. names: in words, ImageNet's first. colours
    (16,16,16,12): how likely each term of `networks.colours` is for a colour. categories: words of names that are
    kinds of things, no products. samples: how many of each source the layer was learned from.
    """

    imagenet: Tensor
    said: Tensor
    of: Tensor
    weight: Tensor
    bias: Tensor
    names: tuple[str, ...]
    colours: Tensor = field(default_factory=lambda: torch.full((BINS, BINS, BINS, len(TERMS)), 1 / len(TERMS)))
    categories: frozenset[str] = frozenset()
    samples: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own, channels = len(self.bias), self.imagenet.shape[-1]
        shapes = {
            "imagenet": (CLASSES, channels),
            "said": (len(self.said), channels),
            "of": (len(self.of), 2),
            "weight": (own, FEATURES),
            "colours": (BINS, BINS, BINS, len(TERMS)),
        }
        for name, shape in shapes.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has the shape {tuple(getattr(self, name).shape)}, expected {shape}")
        if len(self.names) != CLASSES + own:
            raise ValueError(f"{len(self.names)} names, expected {CLASSES + own}")
        if (self.of < 0).any() or (self.of >= self.of.new_tensor([len(self.said), len(self.names)])).any():
            raise ValueError("something is said of a name that is none")

    @classmethod
    def load(cls, path: Path) -> NameBank:
        """MODEL_ERROR where the file is none, or damaged; ValueError where it holds something else."""
        tensors = load_tensors(path)
        try:
            about = parse_json(read_about(path).get("about", "{}"))
            known = [key for key in FLOATS if key != "colours" or key in tensors]  # older files know none
            floats = {key: tensors[key].float() for key in known}
            names, categories, samples = (about[key] for key in ("names", "categories", "samples"))
            of = tensors["of"].long()
            if of.ndim == 1:  # older files: one name for each phrase, only our own
                of = torch.stack([torch.arange(len(of)), CLASSES + of], dim=1)
            return cls(**floats, of=of, names=tuple(names), categories=frozenset(categories), samples=samples)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} lacks {error}") from error
        except OSError as error:
            raise ValueError(f"{path}: {error}") from error

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What a safetensors file of it holds, and its metadata: the inverse of `load`."""
        kept = {key: getattr(self, key).half().contiguous() for key in FLOATS}
        about = {"names": self.names, "categories": sorted(self.categories), "samples": dict(self.samples)}
        in_one = {"about": json.dumps(about)}  # safetensors writes several in any order
        return kept | {"of": self.of.short()}, in_one


@dataclass(frozen=True)
class Seen:
    """How likely each of ImageNet's names (K,1000) is for K instances, and each of our own (K,N), whose rows sum to
    less than 1: the rest is that it is none of them."""

    imagenet: Tensor
    own: Tensor


class Names:
    """Looks at a frame's instances and compares phrases with what they are called."""

    def __init__(self, config: NamesConfig, bank: NameBank, backbone: Backbone) -> None:
        self.config, self.bank, self.backbone = config, bank, backbone

    def look(self, rgb: np.ndarray, labels: np.ndarray) -> Seen:
        """What the instances 1..K of `labels` (H,W) int in the image (H,W,3) uint8 are called.

        Of instances beyond `MOST` nothing is known: each of ImageNet's names is as likely, and none of our own.
        """
        seen = self.likely(self.backbone.features(instance_crops(rgb, labels)))
        more = max(int(labels.max(initial=0)) - len(seen.imagenet), 0)
        unknown = seen.imagenet.new_full((more, CLASSES), 1 / CLASSES), seen.own.new_zeros(more, len(self.bank.bias))
        return Seen(torch.cat([seen.imagenet, unknown[0]]), torch.cat([seen.own, unknown[1]]))

    def likely(self, features: Tensor) -> Seen:
        """The same of the backbone's features (n,1280)."""
        imagenet = self.backbone.logits(features)
        both = torch.cat([imagenet, features @ self.bank.weight.T + self.bank.bias], dim=1) / self.config.smoothing
        return Seen(torch.softmax(imagenet / self.config.smoothing, dim=1), torch.softmax(both, dim=1)[:, CLASSES:])

    def compare(self, seen: Seen, text: Tensor) -> tuple[Tensor, Tensor]:
        """How much likelier each phrase (Q,C), a unit row, is for each instance than for any odd thing: log-likelihood
        ratios (K,Q) by ImageNet's names and by our own."""
        text, (phrase, name) = text.cpu(), self.bank.of.T
        of_own = text.new_full((len(text), len(self.bank.bias)), -1.0)
        cosine = torch.cat([text @ self.bank.imagenet.T, of_own], dim=1)
        said = (text @ self.bank.said.T)[:, phrase]
        cosine = cosine.scatter_reduce(1, name.expand(len(text), -1), said, "amax")
        near = self._nearness(cosine[:, :CLASSES])
        names = (seen.imagenet @ near.T).log() - near.mean(dim=1).log()
        near = self._nearness(cosine[:, CLASSES:])
        usual, none = near.mean(dim=1), 1 - seen.own.sum(dim=1, keepdim=True)
        own = (seen.own @ near.T + none * usual).log() - usual.log()
        return names, own

    def _nearness(self, cosine: Tensor) -> Tensor:
        """Of phrases to names (Q,N), the nearest's being 1."""
        return ((cosine - cosine.amax(dim=1, keepdim=True)) / self.config.nearness).exp()

    def called(self, seen: Seen) -> list[str]:
        """The likeliest name of each instance."""
        none = 1 - seen.own.sum(dim=1, keepdim=True)
        best = torch.cat([none * seen.imagenet, seen.own], dim=1).argmax(dim=1)
        return [self.bank.names[k] for k in best.tolist()]


def log_odds(say: Mapping[str, Say], phrases: Sequence[str], evidence: Mapping[str, Tensor]) -> Tensor:
    """Log-odds (K,Q) that each phrase means each instance, from the kinds of evidence, each (K,Q), by their names."""
    of = [say[wording(phrase)] for phrase in phrases]
    total = next(iter(evidence.values())).new_tensor([each.offset for each in of])
    for kind, each in evidence.items():
        total = total + each.new_tensor([getattr(one, kind) for one in of]) * each
    return total


def cut_plain(rgb: np.ndarray, mask: np.ndarray, size: int = CROP, expansion: float = EXPANSION) -> np.ndarray:
    """Square crop (S,S,3) uint8 of what `mask` (H,W) shows, with its surroundings, as photographs have them."""
    crop = Image.fromarray(rgb).crop(square_box(mask, expansion))
    return np.asarray(crop.resize((size, size), Image.Resampling.BILINEAR))


def instance_crops(rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Crops (K,S,S,3) uint8 of the instances 1..K in `labels` (H,W) int, of at most `MOST`; grey where none shows.

    Surroundings stay, but other instances are painted over with the usual colour of what is none.
    """
    around = rgb[labels == 0]
    usual = np.median(around, axis=0).astype(np.uint8) if len(around) else np.full(3, 128, np.uint8)
    crops = []
    for label, box in enumerate(find_objects(labels, min(int(labels.max(initial=0)), MOST)), start=1):
        if box is None:
            crops.append(np.full((CROP, CROP, 3), 128, np.uint8))
            continue
        wide = tuple(slice(max(side.start - ROOM, 0), side.stop + ROOM) for side in box)
        mask = labels[wide] == label
        own = binary_dilation(binary_closing(mask, CLOSING) | mask, iterations=EDGE)
        painted = np.where(((labels[wide] > 0) & ~own)[..., None], usual, rgb[wide])
        crops.append(cut_plain(painted, mask))
    return np.stack(crops) if crops else np.zeros((0, CROP, CROP, 3), np.uint8)
