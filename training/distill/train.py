# SPDX-License-Identifier: Apache-2.0
"""The training: distillation of fused object features into the sparse encoder (section 3.3, A.2)."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
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
from training.runs.errors import InputError
from training.runs.files import write_atomically
from training.runs.log import Meter, profiler
from training.runs.loop import Schedule, TrainingLoop, training_loop

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
    if config.phrase_weight and text is None:
        raise InputError("phrase_weight is above 0 and there are no phrases; give a text adapter, or set it to 0")
    if config.use_cls_head and not source.categories:
        source = dataclasses.replace(source, categories=categories(source))
    stages = config.stage_steps(len(source.scenes))
    student = student_of(config, text, len(source.categories), start_from).to(device)
    if processes > 1 and config.sync_bn:
        synchronise(student.encoder)
    betas = (config.momentum, 0.999)
    optimizer = torch.optim.AdamW(student.parameters(), config.base_lr, betas, weight_decay=config.weight_decay)
    with training_loop(
        "distill",
        sum(stages),
        {"student": student, "optimizer": optimizer},
        None if out is None else out / "checkpoint.pt",
        fingerprint(config, source),
        schedule_of(config, student, validate),
        rank=rank,
        processes=processes,
        tensorboard=tensorboard,
    ) as loop:
        if summed(torch.tensor(float(loop.start), device=device)) != loop.start * processes:
            raise InputError(
                f"not all processes see {loop.checkpoint}; --out must be on a disk that all machines share"
            )
        batches = Batches(source, config, stages[0], rank, processes).loader(loop.start, sum(stages), device)
        meter = Meter(device)
        student.train()
        with profiler(out if profile and rank == 0 else None) as profiling:
            walk(loop, student, optimizer, iter(batches), meter, config, stages, profiling, out)
    if rank == 0 and meter.steps:
        summarise(meter, config, processes, out)
    return plain(student.encoder)


def student_of(config: DistillConfig, text: Tensor | None, classes: int, start_from: MinkUNet14D | None) -> Student:
    """The seeded encoder with its losses, widened from `start_from` where that is given."""
    torch.manual_seed(config.seed)
    encoder = MinkUNet14D(config.encoder)
    if start_from is not None:
        try:
            widen(encoder, start_from)
        except ValueError as error:
            raise InputError(f"the encoder to start from does not fit: {error}") from error
    return Student(encoder, config, text, classes)


def schedule_of(config: DistillConfig, student: Student, validate: Validate | None) -> Schedule:
    """When to save, log and validate; a validation leaves the student in training mode."""
    plan = Schedule(save_every=config.save_every, log_every=config.log_every, validate_every=config.validate_every)
    if validate is not None:

        def look() -> dict[str, float]:
            found = validated(student.encoder, validate)
            student.train()
            return found

        plan.validate = look
    return plan


def walk(
    loop: TrainingLoop,
    student: Student,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    meter: Meter,
    config: DistillConfig,
    stages: tuple[int, int],
    profiling: torch.profiler.profile | None,
    out: Path | None,
) -> None:
    """All steps that are left, this process's share of each. A step that is not finite leaves its batch in `out`."""
    network = DistributedDataParallel(student, broadcast_buffers=False) if world() > 1 else student
    device = meter.device
    half = config.amp == "bf16" or (config.amp == "auto" and device.type == "cuda")
    for step in loop:
        batch = meter.fetch(batches)
        rate = learning_rate(config, step, stages)
        losses, norm = one_step(network, optimizer, batch.to(device), config, step, rate, half)
        if profiling is not None:
            profiling.step()
        loop.finish(
            step,
            losses | {"norm": norm},
            also={"lr": rate, "wait_share": meter.wait_share},
            shown={name: f"{loss:.4f}" for name, loss in losses.items()} | {"wait": f"{meter.wait_share:.1%}"},
            advice=partial(kept_batch, batch, step, out),
        )


def summarise(meter: Meter, config: DistillConfig, processes: int, out: Path | None) -> None:
    """Prints how fast the run was, and writes it to summary.json."""
    summary = meter.summary(meter.steps * config.batch_size)
    print("distill: " + ", ".join(f"{name} {value}" for name, value in summary.items()))
    if out is not None:
        with write_atomically(out / "summary.json", replace=True) as part:
            part.write_text(json.dumps(summary | {"processes": processes, "device": str(meter.device)}) + "\n")


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


def kept_batch(batch: Batch, step: int, out: Path | None) -> str:
    """What to do about a step whose loss or gradient is not finite; its batch is kept in `out`."""
    if out is None:
        return "lower the learning rate, or look at the data"
    rank = dist.get_rank() if dist.is_initialized() else 0
    path = out / f"batch_{step}_{rank}.safetensors"
    with write_atomically(path, replace=True) as part:
        save_file({name: tensor.contiguous() for name, tensor in batch._asdict().items()}, part)
    return f"the batch is in {path}, the checkpoint is of before; lower the learning rate, or look at the batch"


@torch.no_grad()
def validated(encoder: MinkUNet14D, validate: Validate) -> dict[str, float]:
    """What `validate` finds, by name. The random state of the training stays as it was."""
    with torch.random.fork_rng():
        encoder.eval()
        found = validate(encoder)
    tqdm.write("validation: " + ", ".join(f"{name} {value:.4g}" for name, value in found.items()))
    return found


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
