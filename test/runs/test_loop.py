# SPDX-License-Identifier: Apache-2.0
"""The training loop and the files below it: stopped by a signal, gone on, two at once, losses that are not finite."""

import json
import multiprocessing
import os
import signal
import threading

import pytest
import torch

from training.runs.checkpoint import CheckpointError
from training.runs.errors import InputError
from training.runs.files import lock_folder, write_atomically
from training.runs.loop import Schedule, training_loop


def train(out=None, steps=12, every=5, at_step=lambda step: None, made_of=None, validate=None):
    """A line fitted to noise that each step draws anew; returns the weights."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(model.parameters())
    parts = {"model": model, "optimizer": optimizer}
    plan = Schedule(save_every=every, log_every=2, validate_every=6, validate=validate)
    with training_loop("test", steps, parts, out and out / "checkpoint.pt", made_of, plan, "do better") as loop:
        for step in loop:
            at_step(step)
            torch.manual_seed(step)
            loss = model(torch.randn(8, 3)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loop.finish(step, {"loss": loss.item() if step != 99 else float("nan")}, also={"rate": 0.5})
    return model.weight.detach()


def send(number, at):
    """A signal in this step, by the process to itself."""
    return lambda step: os.kill(os.getpid(), number) if step == at else None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_the_step_at_hand_and_the_run_goes_on_from_there(tmp_path, number):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, at_step=send(number, 7))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 8
    assert torch.equal(train(tmp_path), train())
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").open()]
    assert [line["step"] for line in lines] == [0, 2, 4, 6, 8, 10, 11]
    assert set(lines[0]) == {"step", "loss", "rate"}


def test_a_second_signal_acts_at_once(tmp_path):
    def twice(step):
        if step == 3:
            send(signal.SIGINT, 3)(3)
            send(signal.SIGINT, 3)(3)
            raise AssertionError("not at once")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, at_step=twice)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_loss_that_is_not_finite_keeps_the_checkpoint_of_before(tmp_path):
    with pytest.raises(InputError, match=r"^step 99: loss nan: not finite; do better$"):
        train(tmp_path, steps=120, every=40)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 80


def test_validation_is_logged_when_it_is_time(tmp_path):
    train(tmp_path, steps=8, validate=lambda: {"right": 1.0})
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").open()]
    assert [line["step"] for line in lines if line.get("val/right") == 1] == [5, 7]


def test_another_run_is_refused(tmp_path):
    train(tmp_path, made_of={"rate": 1})
    with pytest.raises(CheckpointError, match="made with rate 1, asked is 2"):
        train(tmp_path, made_of={"rate": 2})


def test_two_in_one_folder_are_refused(tmp_path):
    with lock_folder(tmp_path / "link" / ".."), pytest.raises(InputError, match="another such command is at work"):
        train(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=train, args=(tmp_path,))
    with lock_folder(tmp_path):
        process.start()
        process.join()
    assert process.exitcode == 1 and not (tmp_path / "checkpoint.pt").exists()
    train(tmp_path)  # free again


def test_writers_of_one_name_do_not_meet(tmp_path):
    path, both = tmp_path / "result.txt", threading.Barrier(2)

    def write(text):
        with write_atomically(path, replace=True) as part:
            part.write_text(text[:3])
            both.wait()
            part.write_text(text)

    threads = [threading.Thread(target=write, args=(letter * 9,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in ("a" * 9, "b" * 9) and list(tmp_path.iterdir()) == [path]


def _killed_while_writing(path):
    with write_atomically(path) as part:
        part.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "result.txt"
    process = multiprocessing.get_context("spawn").Process(target=_killed_while_writing, args=(path,))
    process.start()
    process.join()
    assert len(list(tmp_path.glob("*.part"))) == 1
    with write_atomically(path) as part:
        part.write_text("whole")
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "whole"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_whatever_fails_leaves_the_old_file_and_nothing_beside(tmp_path, error):
    (tmp_path / "result").write_text("old")
    with pytest.raises(error), write_atomically(tmp_path / "result", replace=True) as part:
        part.write_text("half")
        raise error
    assert (tmp_path / "result").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
