# SPDX-License-Identifier: Apache-2.0
"""The training loop: distillation of fused object features into the sparse encoder (section 3.3, A.2)."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from dropclip_ros.networks.encoder import MinkUNet14D
from training.distill.config import DistillConfig, learning_rate
from training.distill.data import Batch, Batches, TrainingSet
from training.distill.losses import Student
from training.distill.processes import join, summed, synchronise, world
from training.distill.widen import widen
from training.runs.checkpoint import load_checkpoint, save_checkpoint
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.runs.log import Log, Meter, profiler

Validate = Callable[[MinkUNet14D], dict[str, float]]

FREE = {"workers", "save_every", "log_every", "validate_every", "batch_size_val"}  # a run may go on with others


def distill(
    source: TrainingSet,
    config: DistillConfig,
    out: Path | None = None,
    text: Tensor | None = None,
    start_from: MinkUNet14D | None = None,
    validate: Validate | None = None,
    tensorboard: bool = False,
    profile: bool = False,
) -> MinkUNet14D:
    """Trains the encoder: steps on full clouds, then steps on single views.

    out: a folder for checkpoint.pt (it goes on from there), losses.jsonl, full clouds, summary.json, profile.json and,
    where a loss is not finite, the batch. text (P,C): phrases, unit rows, where config.phrase_weight is above 0.
    start_from: a trained encoder, as wide or narrower, to begin with. validate: called with the encoder in eval mode in
    the first process, each `validate_every` steps and at the end; its numbers go to the log.
    Under torchrun every process takes its share of each batch, which walks as one process with the whole batch does.
    Raises InputError for what the user can mend, CheckpointError where the checkpoint is of another run.
    """
    rank, processes, device = join()
    source.check(config)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    if config.phrase_weight and text is None:
        raise InputError("phrase_weight is above 0 and there are no phrases; give a text adapter, or set it to 0")
    if config.use_cls_head and not source.categories:
        source = dataclasses.replace(source, categories=categories(source))
    stages = config.stage_steps(len(source.scenes))
    torch.manual_seed(config.seed)
    encoder = MinkUNet14D(config.encoder)
    if start_from is not None:
        try:
            widen(encoder, start_from)
        except ValueError as error:
            raise InputError(f"the encoder to start from does not fit: {error}") from error
    student = Student(encoder, config, text, len(source.categories)).to(device)
    if processes > 1 and config.sync_bn:
        synchronise(encoder)
    betas = (config.momentum, 0.999)
    optimizer = torch.optim.AdamW(student.parameters(), config.base_lr, betas, weight_decay=config.weight_decay)
    state = {"student": student, "optimizer": optimizer}
    checkpoint = None if out is None else out / "checkpoint.pt"
    start = load_checkpoint(checkpoint, fingerprint(config, source), **state)
    if summed(torch.tensor(float(start), device=device)) != start * processes:
        raise InputError(f"not all processes see {checkpoint}; --out must be on a disk that all machines share")
    network = DistributedDataParallel(student, broadcast_buffers=False) if processes > 1 else student
    first = rank == 0
    log = Log(out if first else None, start, tensorboard)
    batches = Batches(source, config, stages[0], rank, processes).loader(start, sum(stages), device)
    steps = tqdm(range(start, sum(stages)), "distill", sum(stages), initial=start, mininterval=5, disable=not first)
    meter, iterator = Meter(device), iter(batches)
    half = config.amp == "bf16" or (config.amp == "auto" and device.type == "cuda")
    student.train()
    with profiler(out if profile and first else None) as profiling:
        for step in steps:
            batch = meter.fetch(iterator)
            rate = learning_rate(config, step, stages)
            losses, norm = one_step(network, optimizer, batch.to(device), config, step, rate, half)
            if not math.isfinite(sum(losses.values())) or not math.isfinite(norm):
                raise stopped(batch, losses, norm, step, rank, out)
            if profiling is not None:
                profiling.step()
            last = step + 1 == sum(stages)
            if first:
                shown = {name: f"{loss:.4f}" for name, loss in losses.items()}
                steps.set_postfix(shown | {"wait": f"{meter.wait_share:.1%}"}, refresh=False)
            if step % config.log_every == 0 or last:
                log.write(step, losses | {"lr": rate, "norm": norm, "wait_share": meter.wait_share})
            if first and checkpoint is not None and ((step + 1) % config.save_every == 0 or last):
                save_checkpoint(checkpoint, step + 1, fingerprint(config, source), **state)
            if first and validate is not None and ((step + 1) % config.validate_every == 0 or last):
                log.write(step, validated(encoder, validate))
                student.train()
    log.close()
    if first and meter.steps:
        summary = meter.summary(meter.steps * config.batch_size)
        print("distill: " + ", ".join(f"{name} {value}" for name, value in summary.items()))
        if out is not None:
            with write_atomically(out / "summary.json", replace=True) as part:
                part.write_text(json.dumps(summary | {"processes": processes, "device": str(device)}) + "\n")
    return plain(encoder)


def one_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: DistillConfig,
    step: int,
    rate: float,
    half: bool,
) -> tuple[dict[str, float], float]:
    """One step of the optimizer; the losses over all processes, and the norm of the gradient before it was clipped.

    A gradient that is not finite is not applied.
    """
    torch.manual_seed(config.seed + step)  # of dropout: as in a run that was never interrupted
    for group in optimizer.param_groups:
        group["lr"] = rate
    vocabulary = 0 if config.phrase_weight == 0 else len(_student(network).text)
    columns = np.random.default_rng([config.seed, step, 2]).permutation(vocabulary)[: config.phrases]
    losses = network(batch, torch.from_numpy(columns).to(batch.coords.device), half)
    optimizer.zero_grad(set_to_none=True)
    sum(losses.values()).backward()
    norm = nn.utils.clip_grad_norm_(network.parameters(), config.max_norm)
    values = summed(torch.stack(list(losses.values()))) / world()
    *values, norm = torch.cat([values, norm.detach()[None]]).tolist()  # the only time that the host waits
    losses = dict(zip(losses, values, strict=True))
    if math.isfinite(norm) and math.isfinite(sum(values)):
        optimizer.step()
    return losses, norm


def _student(network: nn.Module) -> Student:
    return network.module if isinstance(network, DistributedDataParallel) else network


def stopped(batch: Batch, losses: dict[str, float], norm: float, step: int, rank: int, out: Path | None) -> InputError:
    """The error of a step whose loss or gradient is not finite; the batch is kept in `out`."""
    what = ", ".join(f"{name} {loss:.4g}" for name, loss in losses.items()) + f", gradient {norm:.4g}"
    if out is None:
        return InputError(f"step {step}: {what}: not finite; lower the learning rate, or look at the data")
    path = out / f"batch_{step}_{rank}.safetensors"
    with write_atomically(path, replace=True) as part:
        save_file({name: tensor.contiguous() for name, tensor in batch._asdict().items()}, part)
    return InputError(
        f"step {step}: {what}: not finite; the batch is in {path}, the checkpoint is of before; "
        "lower the learning rate, or look at the batch"
    )


@torch.no_grad()
def validated(encoder: MinkUNet14D, validate: Validate) -> dict[str, float]:
    """What `validate` finds, by names for the log. The random state of the training stays as it was."""
    with torch.random.fork_rng():
        encoder.eval()
        found = validate(encoder)
    tqdm.write("validation: " + ", ".join(f"{name} {value:.4g}" for name, value in found.items()))
    return {f"val/{name}": value for name, value in found.items()}


def plain(encoder: MinkUNet14D) -> MinkUNet14D:
    """The encoder as it is used: in eval mode, on the CPU, with plain batch norms."""
    copy = MinkUNet14D(encoder.config)
    copy.load_state_dict({name: tensor.cpu() for name, tensor in encoder.state_dict().items()})
    return copy.eval()


def categories(source: TrainingSet) -> tuple[str, ...]:
    """Of all objects of the scenes, in order of name."""
    return tuple(sorted({entry["category"] for scene in source.scenes for entry in scene.objects.values()}))


def fingerprint(config: DistillConfig, source: TrainingSet) -> dict[str, object]:
    """What a run must have in common with the checkpoint that it goes on from, plain values by name."""
    fields = dataclasses.asdict(config)
    augment = {f"augment.{name}": value for name, value in fields.pop("augment").items()}
    kept = {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items() if name not in FREE}
    return kept | augment | {"scenes": len(source.scenes)}
