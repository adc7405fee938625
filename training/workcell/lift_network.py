# SPDX-License-Identifier: Apache-2.0
"""Learns from the picks of `training.workcell.lifts` which grasps lift: the weights of `dropclip_ros.grasping.lift`.

python -m training.workcell.lift_network --data runs/lifts --out runs/lift.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import tyro

from dropclip_ros.base.reading import read_arrays
from dropclip_ros.grasping.grasps import Grasps
from dropclip_ros.grasping.grippers import GRIPPERS
from dropclip_ros.grasping.lift import NAMES, Around, features, predict
from training.runs.files import write_atomically


def learn(
    data: Path = Path("runs/lifts"),
    out: Path = Path("runs/lift.npz"),
    hidden: int = 24,
    members: int = 8,
    epochs: int = 25,
    seed: int = 0,
) -> None:
    """Trains the small networks, and says how well what they predict agrees with what was lifted, on scenes held back.

    Args:
        data: folder of `lifts`.
        out: the weights.
        hidden: units of a network.
        members: networks, whose mean predicts.
        epochs: over all examples.
        seed: of their weights and of which scenes are held back, a fifth.
    """
    files = sorted(data.glob("*.npz"))
    if not files:
        sys.exit(f"{data}: no examples; make some first")
    x, y, scene = (np.concatenate(part) for part in zip(*map(_examples, files, range(len(files))), strict=True))
    held = np.isin(scene, np.random.default_rng(seed).permutation(len(files))[: len(files) // 5])
    for kept in (~held, np.ones(len(x), bool)):  # the first to be judged, the second to be shipped
        mean, scale = x[kept].mean(axis=0), x[kept].std(axis=0) + 1e-3
        inputs = torch.tensor((x[kept] - mean) / scale, dtype=torch.float32)
        wanted = torch.tensor(y[kept], dtype=torch.float32)
        weights = [_train(inputs, wanted, hidden, epochs, seed + k) for k in range(members)]
        named = dict(zip(("w1", "b1", "w2", "b2"), map(np.stack, zip(*weights, strict=True)), strict=True))
        with write_atomically(out, replace=True) as part, part.open("wb") as file:
            np.savez(file, mean=mean, scale=scale, **named)
        if not kept.all():
            _judge(out, x[held], y[held])


def _examples(file: Path, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measures (N, F), whether lifted (N,), and the scene's number (N,) of a file of `lifts`."""
    gripper, x, y = GRIPPERS["parallel_140"], [np.zeros((0, len(NAMES)))], [np.zeros(0)]
    held = read_arrays(file)
    for name in sorted({key.split("/")[0] for key in held}):
        around = Around(*(held[f"{name}/{part}"].astype(np.float64) for part in Around.__annotations__))
        x.append(features(Grasps.from_rows(held[f"{name}/rows"]), held[f"{name}/widths"], around, gripper))
        y.append(held[f"{name}/lifted"].astype(np.float64))
    return np.concatenate(x), np.concatenate(y), np.full(sum(map(len, y)), number)


def _train(inputs, wanted, hidden: int, epochs: int, seed: int) -> tuple[np.ndarray, ...]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(inputs.shape[1], hidden), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(hidden, 1)
    )
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(64):
            noisy = inputs[batch] + 0.05 * torch.randn_like(inputs[batch])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(noisy)[:, 0], wanted[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    first, last = model[0], model[3]
    found = first.weight.T, first.bias, last.weight[0], last.bias[0]
    return tuple(one.detach().numpy().astype(np.float32) for one in found)


def _judge(path: Path, measures: np.ndarray, lifted: np.ndarray) -> None:
    """Prints predicted against lifted, in fifths, and how often a lifted grasp is put before one that failed."""
    told, score = predict(measures, path), measures[:, NAMES.index("score")]
    for name, value in (("network", told), ("sampler's score", score)):
        pairs = value[lifted > 0][:, None] - value[lifted == 0][None]
        print(f"{name}: of pairs {100 * ((pairs > 0).mean() + (pairs == 0).mean() / 2):.1f} % in order")
    order = np.argsort(told)
    for part in np.array_split(order, 5):
        print(f"predicted {told[part].mean():.2f}, lifted {lifted[part].mean():.2f} of {len(part)}")


if __name__ == "__main__":
    tyro.cli(learn)
