# SPDX-License-Identifier: Apache-2.0
"""Many jobs, on processes of this machine or on a Ray cluster, in a folder that holds results of one recipe.

A job writes its result beside and renames it, so that a run that was killed goes on without half results: jobs whose
results are there are not given again.
"""

from __future__ import annotations

import ctypes
import errno
import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from dropclip_ros.base.reading import read_json
from training.runs.errors import InputError
from training.runs.files import lock_folder, write_atomically

RECIPE_FILE = "recipe.json"
Job, Result = TypeVar("Job"), TypeVar("Result")


@contextmanager
def locked_folder(out: Path, recipe: Any, holds: str) -> Iterator[None]:
    """The folder with this recipe (a dataclass) in it, for this process alone.

    holds: what it holds, for errors. InputError where it holds those of another recipe, or is in use.
    """
    with lock_folder(out):
        file, wanted = out / RECIPE_FILE, json.loads(json.dumps(asdict(recipe)))
        if file.exists():
            found = _completed(read_recipe(out), recipe)
            if other := sorted(key for key in wanted | found if wanted.get(key) != found.get(key)):
                raise InputError(
                    f"{out} holds {holds} of another recipe (differs in {', '.join(other)}); see "
                    f"{file}, choose another folder, or the same options"
                )
        else:
            with write_atomically(file) as part:
                part.write_text(json.dumps(wanted, indent=1))
        yield


def _completed(found: dict, recipe: Any) -> dict:
    """What a recipe.json says, with the defaults of fields that came after it was written."""
    for field in fields(recipe):
        own = getattr(recipe, field.name)
        if field.name in found:
            if is_dataclass(own) and isinstance(found[field.name], dict):
                found[field.name] = _completed(found[field.name], own)
        elif field.default is not MISSING:
            found[field.name] = json.loads(json.dumps(field.default))
    return found


def read_recipe(out: Path) -> dict:
    """What recipe.json says. InputError where there is none, or it is damaged."""
    file = out / RECIPE_FILE
    try:
        return dict(read_json(file))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({error}); choose another folder") from error


@contextmanager
def explain_disk_errors(out: Path, whole: Callable[[], str]) -> Iterator[None]:
    """Says in one sentence (InputError) what stopped the work inside, and how to go on. whole: "3 of 5 scenes"."""
    try:
        yield
    except KeyboardInterrupt:
        raise InputError(f"stopped: {whole()} are whole; the same command goes on") from None
    except BrokenProcessPool:
        raise InputError(
            f"a worker was killed (out of memory?): {whole()} are whole; run the same command with fewer workers"
        ) from None
    except OSError as error:
        what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else str(error)
        raise InputError(f"{out}: {what}: {whole()} are whole; mend it, then run the same command") from error


def run_on_processes(workers: int, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """Results as they come; the processes are spawned, and die with this one."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), die_with, (os.getpid(),))
    try:
        for future in as_completed([pool.submit(function, job) for job in jobs]):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def die_with(parent: int) -> None:
    """A worker whose parent is killed must not go on: another run may begin."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it was killed before
        os._exit(1)


def run_on_ray(
    address: str,
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    written: Callable[[Result], Sequence[Path]],
    gpus: int = 0,
) -> Iterator[Result]:
    """The same jobs on a cluster ("local": one on this machine); Ray runs those of a lost machine again.

    written: what a job has written, which must be seen from here; gpus: that a job has for itself.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs Ray: pip install 'dropclip_ros[ray]'") from error
    alone = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}  # nobody else's
    where = alone if address == "local" else {"address": address}
    ray.init(log_to_driver=False, ignore_reinit_error=True, **where)
    remote: Callable = ray.remote(max_retries=5, num_gpus=gpus)(function)
    waiting = [remote.remote(job) for job in jobs]
    while waiting:
        done, waiting = ray.wait(waiting)
        try:
            result = ray.get(done[0])
        except ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        for path in written(result):
            if not path.exists():
                raise InputError(
                    f"{path} was written but is not to be seen from {socket.gethostname()}: choose an OUT "
                    "that all machines of the cluster share"
                )
        yield result
