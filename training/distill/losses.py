# SPDX-License-Identifier: Apache-2.0
"""The losses: eq. 6, the paper's auxiliary ones (A.2), which are off by default, and ours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from dropclip_ros.networks.encoder import Activations, MinkUNet14D
from training.distill.config import DistillConfig
from training.distill.data import Batch
from training.distill.processes import summed, world

EPS = 1e-3  # a voxel whose channels are all dead has no direction: its gradient must not drown the others


def contrastive(features: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Supervised contrastive loss (arXiv 2004.11362, L_out of eq. 2): sum over anchors, and how many anchors.

    features (n,C) unit rows, labels (n,). An anchor is a row that shares its label with another one.
    """
    logits = features @ features.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same = (labels[:, None] == labels) & ~itself
    log_share = logits - logits.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    positives = same.sum(1)
    anchors = positives > 0
    loss = -(log_share * same).sum(1)[anchors] / positives[anchors]
    return loss.sum(), anchors.sum()


def triplet(features: Tensor, targets: Tensor, temperature: float, margin: float) -> tuple[Tensor, Tensor]:
    """KL triplet loss (Oki et al., IJCNN 2020), the teacher as the anchor: sum over objects, and how many objects.

    features, targets (K,C) unit rows: what the student says of a scene's objects, and what it should. The student's own
    row is the positive, the nearest of the others the negative; distances are the divergences of the softmax.
    """
    said = F.log_softmax(features / temperature, dim=-1)
    wanted = F.log_softmax(targets / temperature, dim=-1)
    distance = (wanted.exp() * wanted).sum(-1)[:, None] - wanted.exp() @ said.T  # KL(target i || student j)
    if len(features) < 2:
        return features.sum() * 0, torch.tensor(0, device=features.device)
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    nearest = distance.masked_fill(itself, torch.inf).min(dim=1).values
    return F.relu(distance.diagonal() - nearest + margin).sum(), torch.tensor(len(features), device=features.device)


class Student(nn.Module):
    """The encoder with its losses in one `forward`, as DistributedDataParallel wants it.

    text (P,C): phrases, unit rows, where the configuration has a weight for them; classes: how many categories.
    Losses are means over all processes: each divides its sum by the count of all and multiplies by the number of
    processes, so that the mean of gradients that DistributedDataParallel takes is the gradient of the global mean.
    """

    def __init__(
        self, encoder: MinkUNet14D, config: DistillConfig, text: Tensor | None = None, classes: int = 0
    ) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.register_buffer("text", text, persistent=False)
        self.classify = nn.Linear(config.planes[-1], classes) if config.use_cls_head else None

    def forward(self, batch: Batch, columns: Tensor, half: bool = False) -> dict[str, Tensor]:
        """Weighted losses of a batch, by name; what is learned is their sum.

        columns int64 (p,): numbers of the phrases to compare on. half: convolve in bf16.

        Of voxels: `cosine`, the distance from the object's target (eq. 6); `offset`, the distance of the predicted
        middle of the object, in units of 16 voxels; `aux` and `cls`: see `DistillConfig`. Of whole objects: `objects`,
        the distance of what the head for objects says from the target; `phrases` (`_phrase_loss`).
        """
        config, passed = self.config, self._pass(batch, half)
        decoded = F.dropout(passed.decoded[batch.rows], config.dropout_rate, self.training)
        features = F.normalize(self.encoder.head(decoded), dim=-1, eps=EPS)
        pooled = features.new_zeros(len(batch.targets), features.shape[1]).index_add(0, batch.objects, features)
        pooled = F.normalize(pooled, dim=-1, eps=EPS)
        seen = torch.bincount(batch.objects, minlength=len(batch.targets)) > 0
        voxels, objects = (summed(torch.stack([batch.weights.sum(), seen.sum().float()])) / world()).unbind()
        answers = [pooled]  # (K,C) of the objects, each from another part of the network

        losses = self._voxel_losses(batch, decoded, features, voxels)
        if config.use_aux_loss:
            losses["aux"] = config.loss_weight_aux * self._aux(batch, features, pooled, seen)
        if config.object_weight:
            answers.append(self.encoder.object_features(passed, batch.owners, len(batch.targets)))
            distance = 1 - (answers[-1] * batch.targets).sum(-1)[seen]
            losses["objects"] = config.object_weight * distance.sum() / objects
        if config.phrase_weight:
            divergence = self._phrase_loss(answers, batch.targets, seen, columns)
            losses["phrases"] = config.phrase_weight * divergence / objects
        return losses

    def _voxel_losses(self, batch: Batch, decoded: Tensor, features: Tensor, count: Tensor) -> dict[str, Tensor]:
        """Weighted means over voxels, whose weights sum up to `count`: what each is, its category, its object's middle.

        decoded (n,D), features (n,C) unit rows: of the voxels batch.rows.
        """
        config = self.config

        def mean(each: Tensor, weight: float = 1.0) -> Tensor:
            return weight * (each * batch.weights).sum() / count

        losses = {"cosine": mean(1 - (features * batch.targets[batch.objects]).sum(-1))}
        if self.classify is not None:
            wrong = F.cross_entropy(self.classify(decoded), batch.classes[batch.objects], reduction="none")
            losses["cls"] = mean(wrong, config.loss_weight_cls)
        if config.offset_weight:
            error = (self.encoder.offset(decoded) - batch.offsets).norm(dim=-1)
            losses["offset"] = mean(error, config.offset_weight)
        return losses

    def _phrase_loss(self, answers: list[Tensor], targets: Tensor, seen: Tensor, columns: Tensor) -> Tensor:
        """Sum of the KL divergences from what a target says about phrases to what the answers on its object say.

        Directions that phrases do not tell apart count for little. answers: (K,C) each; targets (K,C); seen (K,) bool.
        """
        text = self.text[columns].T * self.config.phrase_scale
        *said, wanted = (F.log_softmax(x[seen] @ text, dim=-1) for x in (*answers, targets))
        return sum(F.kl_div(one, wanted, reduction="sum", log_target=True) for one in said)

    def _pass(self, batch: Batch, half: bool) -> Activations:
        if not half:
            return self.encoder.activations(batch.coords, batch.feats)
        kernels = {k: v.bfloat16() for k, v in self.encoder.named_parameters() if k.endswith("kernel")}
        passed = functional_call(
            _Passing(self.encoder), {f"encoder.{k}": v for k, v in kernels.items()}, (batch.coords, batch.feats)
        )
        return passed._replace(decoded=passed.decoded.float())

    def _aux(self, batch: Batch, features: Tensor, pooled: Tensor, seen: Tensor) -> Tensor:
        """The auxiliary loss, within each scene: so it does not matter which process has which."""
        config, sums, counts = self.config, [], []
        scene, scene_of_object = batch.coords[batch.rows, 0], torch.zeros_like(batch.classes)
        scene_of_object[batch.objects] = scene.to(scene_of_object.dtype)
        for b in range(int(batch.coords[:, 0].max()) + 1):
            if config.aux_loss == "contrastive":
                rows = (scene == b).nonzero()[:, 0]
                rows = rows[:: max(1, -(-len(rows) // config.aux_voxels))]
                loss, count = contrastive(features[rows], batch.objects[rows], config.aux_temperature)
            else:
                of_scene = seen & (scene_of_object == b)
                said, wanted = pooled[of_scene], batch.targets[of_scene]
                loss, count = triplet(said, wanted, config.aux_temperature, config.aux_margin)
            sums.append(loss)
            counts.append(count)
        return torch.stack(sums).sum() * world() / summed(torch.stack(counts).sum().float()).clamp(min=1)


class _Passing(nn.Module):
    """`MinkUNet14D.activations` as a forward, so that its kernels can be swapped for half ones."""

    def __init__(self, encoder: MinkUNet14D) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, coords: Tensor, feats: Tensor) -> Activations:
        return self.encoder.activations(coords, feats)
