# SPDX-License-Identifier: Apache-2.0
"""2D methods of others through `transformers`, projected to 3D (table 4, A.4): a cloud of one view is asked at its
pixels, so a point has the score of the pixel it was made of.

Scores are in [0, 1]; 0 is where no box or mask of the phrase lies. `Boxes` is GroundedSAM with `GroundingDino` and
`Sam`; with `Owlv2`, and without SAM, it is what its name says. `EverySam` is table 5's SAM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torchvision.ops import box_convert, nms

from training.evaluate.methods.pretrained import Pretrained
from training.evaluate.methods.proposals import Proposals
from training.evaluate.protocol import Prediction, ScoreCloud
from training.fusion.clouds import Cloud
from training.fusion.dense import sample
from training.scenes.scene import Scene

GROUNDING_DINO = "IDEA-Research/grounding-dino-base"
SAM = "facebook/sam-vit-large"  # ViT-L, as in table 5
OWLV2 = "google/owlv2-base-patch16-ensemble"
CLIPSEG = "CIDAS/clipseg-rd64-refined"
DUPLICATE = 0.7  # IoU over which a box is another's duplicate


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes (B,4) x0 y0 x1 y1 in pixels of the image, their edges, and scores (B,) in [0, 1]; on the model's device."""

    boxes: torch.Tensor
    scores: torch.Tensor

    def best(self, threshold: float, most: int) -> Detections:
        """Those over `threshold`, without duplicates, at most `most`."""
        over = self.scores > threshold
        boxes, scores = self.boxes[over], self.scores[over]
        kept = nms(boxes, scores, DUPLICATE)[:most]  # the surest first
        return Detections(boxes[kept], scores[kept])


class Detector(Protocol):
    def detect(self, image: Image.Image, phrases: Sequence[str]) -> list[Detections]:
        """All boxes of each phrase."""
        ...


@dataclass
class GroundingDino(Pretrained):
    """A box's score is that of its best token, as in the authors' code. Each phrase is a prompt of its own: one
    expression, lower case, ended by a dot."""

    model_class = "GroundingDinoForObjectDetection"

    name: str = GROUNDING_DINO

    @torch.inference_mode()
    def detect(self, image: Image.Image, phrases: Sequence[str]) -> list[Detections]:
        prompts = [" ".join(phrase.lower().replace(".", " ").split()) + "." for phrase in phrases]
        longest = self.model.config.max_text_len
        inputs = self.processor(
            images=[image] * len(prompts),
            text=prompts,
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=longest,
        )
        output = self.model(**inputs.to(self.model.device))
        scale = torch.tensor([image.width, image.height] * 2, device=self.model.device)
        scores = output.logits.sigmoid().amax(-1)
        return [Detections(*pair) for pair in zip(corners(output.pred_boxes) * scale, scores, strict=True)]


@dataclass
class Owlv2(Pretrained):
    """OWLv2 sees the image padded to a square on the right and below, and its boxes are parts of that square."""

    model_class = "Owlv2ForObjectDetection"

    name: str = OWLV2

    @torch.inference_mode()
    def detect(self, image: Image.Image, phrases: Sequence[str]) -> list[Detections]:
        longest = self.model.config.text_config.max_position_embeddings
        inputs = self.processor(
            images=image,
            text=list(phrases),
            return_tensors="pt",
            padding="max_length",
            truncation=True,
            max_length=longest,
        )
        output = self.model(**inputs.to(self.model.device))
        boxes = corners(output.pred_boxes[0]) * max(image.size)
        return [Detections(boxes, scores) for scores in output.logits[0].sigmoid().T]


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes (...,4) of middle and size as x0 y0 x1 y1."""
    return box_convert(boxes, "cxcywh", "xyxy")


@dataclass
class Sam(Pretrained):
    """Masks of boxes, and of everything, by Segment Anything. boxes: how many at once; memory grows with them."""

    model_class = "SamModel"

    name: str = SAM
    boxes: int = 32

    @torch.inference_mode()
    def embed(self, image: Image.Image) -> torch.Tensor:
        """What `masks` needs of an image: once for all boxes."""
        inputs = self.processor(images=image, return_tensors="pt").to(self.model.device)
        return self.model.get_image_embeddings(inputs["pixel_values"])

    @torch.inference_mode()
    def masks(self, image: Image.Image, embedding: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """The mask of each box (B,4), (B,H,W) bool on the CPU."""
        found = [torch.zeros(0, image.height, image.width, dtype=torch.bool)]
        for some in boxes.split(self.boxes):
            inputs = self.processor(images=image, input_boxes=[some.tolist()], return_tensors="pt")
            prompts = inputs["input_boxes"].to(embedding)
            output = self.model(image_embeddings=embedding, input_boxes=prompts, multimask_output=False)
            sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
            masks = self.processor.post_process_masks(output.pred_masks, *sizes)[0]
            found.append(masks[:, 0].cpu())
        return torch.cat(found)


@dataclass
class Boxes:
    """Points in the boxes of a phrase, or in SAM's masks of them; a point's score is its surest box's.

    threshold: least score of a box (0.25 is GroundedSAM's; OWLv2's scores are lower, 0.1 is its own); most: boxes of
    a phrase at most; batch: phrases at once.
    """

    detector: Detector
    sam: Sam | None = None
    threshold: float = 0.25
    most: int = 10
    batch: int = 4

    def __call__(self, scene: Scene, cloud: Cloud) -> Prediction:
        image, pixels = seen(scene, cloud)
        embedding = None if self.sam is None else self.sam.embed(image)

        def score(phrases: Sequence[str]) -> torch.Tensor:
            found = [each.best(self.threshold, self.most) for each in self.detector.detect(image, phrases)]
            boxes = torch.cat([each.boxes for each in found])
            if self.sam is None:
                inside = in_boxes(boxes.cpu(), pixels, image.width)
            else:
                inside = self.sam.masks(image, embedding, boxes).flatten(1)[:, pixels]
            parts = zip(inside.split([len(each.boxes) for each in found]), found, strict=True)
            return torch.stack([surest(mask, each.scores.cpu()) for mask, each in parts], dim=1)

        return ScoreCloud(np.arange(len(cloud)), PhraseScores(score, len(cloud), self.batch))


@dataclass
class ClipSeg(Pretrained):
    """The score of CLIPSeg's decoder, brought from its own resolution to the pixels. batch: phrases at once."""

    model_class = "CLIPSegForImageSegmentation"

    name: str = CLIPSEG
    batch: int = 16

    def __call__(self, scene: Scene, cloud: Cloud) -> Prediction:
        image, pixels = seen(scene, cloud)
        shown = self.processor(images=image, return_tensors="pt")["pixel_values"].to(self.model.device)

        @torch.inference_mode()
        def score(phrases: Sequence[str]) -> torch.Tensor:
            longest = self.model.config.text_config.max_position_embeddings
            text = self.processor(
                text=list(phrases), return_tensors="pt", padding=True, truncation=True, max_length=longest
            )
            logits = self.model(
                **text.to(self.model.device), pixel_values=shown.expand(len(phrases), -1, -1, -1)
            ).logits
            maps = logits.reshape(len(phrases), *logits.shape[-2:])  # it drops the first axis of a single phrase
            return at_pixels(maps.cpu(), pixels, (image.height, image.width)).sigmoid()

        return ScoreCloud(np.arange(len(cloud)), PhraseScores(score, len(cloud), self.batch))


@dataclass
class EverySam:
    """SAM's automatic masks of a view: class-agnostic instances, from a grid of points, filtered by SAM's own
    confidence and stability, without duplicates. Their scores are the confidences (predicted IoU).

    points: grid points along each side; batch: of them at once.
    """

    sam: Sam
    points: int = 32
    batch: int = 64
    confidence: float = 0.88
    stability: float = 0.95

    def __call__(self, scene: Scene, cloud: Cloud) -> Proposals:
        from transformers import MaskGenerationPipeline

        image, pixels = seen(scene, cloud)
        generate = MaskGenerationPipeline(
            model=self.sam.model, image_processor=self.sam.processor.image_processor, device=self.sam.model.device
        )
        found = generate(
            image,
            points_per_batch=self.batch,
            points_per_crop=self.points,
            pred_iou_thresh=self.confidence,
            stability_score_thresh=self.stability,
        )
        masks = [np.asarray(mask).ravel()[pixels] for mask in found["masks"]]
        scores = np.asarray(torch.as_tensor(found["scores"]).cpu(), np.float32)
        return Proposals(np.array(masks, bool).reshape(len(scores), len(cloud)), scores)

    def instances(self, scene: Scene, cloud: Cloud) -> tuple[np.ndarray, np.ndarray]:
        """`Proposals.disjoint` of the view."""
        return self(scene, cloud).disjoint()


class PhraseScores:
    """Scores (M,Q) of a view's points by phrase; each phrase is asked of the model once, `batch` at a time."""

    def __init__(self, score: Callable[[Sequence[str]], torch.Tensor], points: int, batch: int) -> None:
        self.score, self.points, self.batch = score, points, batch
        self._known: dict[str, torch.Tensor] = {}

    def __call__(self, phrases: Sequence[str]) -> torch.Tensor:
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._known]
        for start in range(0, len(new), self.batch):
            some = new[start : start + self.batch]
            self._known |= zip(some, self.score(some).T, strict=True)
        if not phrases:
            return torch.zeros(self.points, 0)
        return torch.stack([self._known[phrase] for phrase in phrases], dim=1)


def seen(scene: Scene, cloud: Cloud) -> tuple[Image.Image, np.ndarray]:
    """The image of the cloud's one view, and the flat pixel (M,) of each point. ValueError where it has several."""
    if cloud.pixels is None or len(cloud.views) != 1:
        raise ValueError(f"a 2D method sees one view; the cloud is of {len(cloud.views)}: make it with view_cloud")
    return Image.fromarray(scene.view(cloud.views[0]).rgb), np.ascontiguousarray(cloud.pixels)


def at_pixels(maps: torch.Tensor, pixels: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """Maps (C,h,w) of a whole image of `size` (H,W) at flat pixels (M,) of it, bicubic: (M,C) float32."""
    where = torch.from_numpy(np.stack([pixels % size[1], pixels // size[1]], axis=1)).float()
    return sample(maps[None].float(), where[None], size)[0]


def in_boxes(boxes: torch.Tensor, pixels: np.ndarray, width: int) -> torch.Tensor:
    """Which flat pixels (M,) of an image of that width have their middle in which of the boxes (B,4): (B,M) bool."""
    x, y = (torch.from_numpy(axis) + 0.5 for axis in (pixels % width, pixels // width))
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    return (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)


def surest(masks: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """The greatest score (M,) of the masks (B,M) that hold a point; 0 where none does."""
    return torch.where(masks, scores[:, None], 0).amax(0) if len(masks) else torch.zeros(masks.shape[1])
