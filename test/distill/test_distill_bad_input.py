# SPDX-License-Identifier: Apache-2.0
"""What distillation says of bad input, and what survives it."""

import dataclasses
import errno
import warnings

import pytest
import torch
from distill_support import STILL, source, targets, tiny, write_data
from mvtod_support import write_scenes

import training.runs.checkpoint
from dropclip_ros.base.files import load_tensors
from training.distill import TrainingSet, distill
from training.distill.data import sample_number
from training.fusion.targets import load_fused
from training.runs.checkpoint import CheckpointError
from training.runs.errors import InputError
from training.scenes.shards import load_scenes, pack


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Poisoned(list):
    """Targets that are no numbers from the eighth sample on."""

    def __init__(self, items):
        super().__init__(items)
        self.reads = 0

    def __getitem__(self, s):
        self.reads += 1
        target = super().__getitem__(s)
        return target if self.reads < 8 else dataclasses.replace(target, features=target.features * torch.nan)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_batch_and_checkpoint(tmp_path):
    data = source(tmp_path)
    with pytest.raises(InputError, match=r"step [1-5]: cosine nan.*not finite; the batch is in") as error:
        distill(dataclasses.replace(data, targets=Poisoned(data.targets)), tiny(), tmp_path / "out")
    assert "\n" not in str(error.value)
    step = int(str(error.value)[5])
    batch = load_tensors(tmp_path / "out" / f"batch_{step}_0.safetensors")
    assert batch["targets"].isnan().any() and batch["coords"].shape[1] == 4
    kept = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    assert kept["step"] == step and all(tensor.isfinite().all() for tensor in kept["student"].values())


def test_a_full_disk_stops_the_run_and_the_last_checkpoint_survives(tmp_path, monkeypatch):
    data = source(tmp_path)
    write, fail_at = training.runs.checkpoint.os.fsync, [3]

    def fsync(descriptor):
        fail_at[0] -= 1
        if not fail_at[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(descriptor)

    monkeypatch.setattr(training.runs.checkpoint.os, "fsync", fsync)
    with pytest.raises(InputError, match=r"checkpoint.pt cannot be written: the disk is full; make room"):
        distill(data, tiny(), tmp_path / "out")
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not list((tmp_path / "out").glob("*.part"))
    resumed = distill(data, tiny(), tmp_path / "out")
    for name, tensor in distill(data, tiny()).state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_another_configuration_or_a_damaged_checkpoint_is_refused(tmp_path):
    data = source(tmp_path)
    distill(data, tiny(), tmp_path / "out")
    distill(data, tiny(workers=1, save_every=7), tmp_path / "out")  # does not matter for what is learned
    for changes, field in (
        ({"base_lr": 2e-2}, "base_lr 0.01, asked is 0.02"),
        ({"augment": STILL}, "augment.hue_max 0.01, asked is 0"),
    ):
        with pytest.raises(CheckpointError, match=f"was made with {field}"):
            distill(data, tiny(**changes), tmp_path / "out")
    whole = (tmp_path / "out" / "checkpoint.pt").read_bytes()
    (tmp_path / "out" / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="no whole checkpoint") as error:
        distill(data, tiny(), tmp_path / "out")
    assert "\n" not in str(error.value)


def test_targets_of_another_width_or_other_scenes_are_refused(tmp_path):
    scenes, fused = write_data(tmp_path)
    data = TrainingSet(load_scenes(scenes), targets(3, width=7))
    with pytest.raises(InputError, match="have 7 channels, the network 4; set feat_dim to 7"):
        distill(data, tiny())
    write_scenes(tmp_path / "more", 4)
    with pytest.raises(InputError, match="lacks 1 of the scenes, scene_00003"):
        load_fused(fused, load_scenes(tmp_path / "more"))
    fused.write_bytes(b"nothing")
    with pytest.raises(InputError, match="holds no fused features"):
        load_fused(fused, data.scenes)


def test_it_learns_from_shards_and_leaves_out_a_corrupt_one(tmp_path):
    scenes, fused = write_data(tmp_path, 4)
    pack(scenes, tmp_path / "shards", per_shard=2)
    alone = distill(TrainingSet(load_scenes(scenes), load_fused(fused, load_scenes(scenes))), tiny(use_cls_head=False))
    sharded = load_scenes(tmp_path / "shards")
    learned = distill(TrainingSet(sharded, load_fused(fused, sharded)), tiny(use_cls_head=False))
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, learned.state_dict()[name]), name
    (tmp_path / "shards" / "shard_00001.tar").write_bytes(b"not a tar" * 200)
    (tmp_path / "shards" / "shard_00001.json").unlink()
    with pytest.warns(UserWarning, match=r"left out: .*shard_00001.tar is not a tar"):
        left = load_scenes(tmp_path / "shards", skip_broken=True)
    assert len(left) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distill(TrainingSet(left, load_fused(fused, left)), tiny(use_cls_head=False))


def test_scenes_that_cannot_be_read_at_all_end_the_run_in_one_line(tmp_path):
    data = source(tmp_path)
    for scene in (tmp_path / "scenes").iterdir():
        for picture in scene.glob("*.png"):
            picture.write_bytes(b"no picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for workers in (0, 1):
            with pytest.raises(InputError, match="20 scenes in turn could not be read") as error:
                distill(data, tiny(use_cls_head=False, workers=workers))
            assert "\n" not in str(error.value)


def test_a_cloud_that_cannot_be_kept_is_learned_from_all_the_same(tmp_path):
    data = source(tmp_path)
    (tmp_path / "clouds").write_text("a file is where the folder should be")
    with pytest.warns(UserWarning, match="its cloud is not kept"):
        sample = sample_number(data, tiny(), 0, full=True)
    assert len(sample.coords) > 100
