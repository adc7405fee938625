# SPDX-License-Identifier: Apache-2.0
"""Whatever lies where a file is expected ends in one typed reason: soon, and without taking it for something else."""

import json
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dropclip_ros.base import reading
from dropclip_ros.base.reading import Unreadable

READERS = {
    "json": reading.read_json,
    "yaml": reading.read_yaml,
    "text": reading.read_text,
    "image": reading.read_image,
    "npy": reading.read_array,
    "npz": reading.read_arrays,
    "safetensors": reading.read_tensors,
    "about": reading.read_about,
    "checkpoint": reading.read_checkpoint,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_only_regular_files_are_read(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "folder", "loop", "absent"):
        with pytest.raises(OSError):
            read(tmp_path / name)
    for name in ("/dev/zero", "/dev/stdin", "a\0b"):
        with pytest.raises(OSError):
            read(name)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300))
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_any_bytes_are_read_or_refused(read, data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    try:
        read(path)
    except OSError as error:
        assert str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, "[" * 80 + "]" * 80, "1" * 5000, "{"]
)
def test_json_of_any_depth_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(Unreadable):
        reading.read_json(tmp_path / "a.json")


def test_json_as_deep_as_ours_is_read():
    tree = json.loads("[" * 60 + "]" * 60)
    assert reading.parse_json(json.dumps(tree)) == tree


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: *x", "!!python/object/apply:os.getcwd []", "[" * 20_000, "a: [", "\x07"]
)
def test_yaml_builds_nothing_and_repeats_nothing(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(Unreadable, match="no whole YAML"):
        reading.read_yaml(tmp_path / "a.yaml")


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(reading.TEXT + 1)
    with pytest.raises(Unreadable, match="expected at most"):
        reading.read_json(tmp_path / "a.json")


def test_an_image_that_says_that_it_is_huge_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = struct.pack(">II", 12_000, 12_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(Unreadable, match="12000x12000"):
        reading.read_image(tmp_path / "a.png")


def test_a_format_that_starts_a_program_is_no_image(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", format="EPS")
    with pytest.raises(Unreadable, match="no whole image"):
        reading.read_image(tmp_path / "a.png")


def test_arrays_are_never_unpickled_nor_unpacked_without_end(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(Unreadable, match=r"no whole \.npy"):
        reading.read_array(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(Unreadable, match="expected one array"):
        reading.read_array(tmp_path / "b.npy")
    with zipfile.ZipFile(tmp_path / "c.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v.npy", bytes(100))
    data = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(data.replace(struct.pack("<I", 100), struct.pack("<I", 2**32 - 2)))
    with pytest.raises(Unreadable):
        reading.read_arrays(tmp_path / "c.npz")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000, 17), }".ljust(117) + b"\n"
    (tmp_path / "d.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header)
    with pytest.raises(Unreadable):
        reading.read_array(tmp_path / "d.npy")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_a_checkpoint_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, tmp_path / "a.pt")
    with pytest.raises(Unreadable, match="tensors alone"):
        reading.read_checkpoint(tmp_path / "a.pt")
    assert not (tmp_path / "evil").exists()


def test_a_good_file_is_what_it_was(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "a.pt")
    assert reading.read_checkpoint(tmp_path / "a.pt")["a"].tolist() == [0, 1, 2]
    np.savez_compressed(tmp_path / "a.npz", v=np.eye(3))
    assert (reading.read_arrays(tmp_path / "a.npz")["v"] == np.eye(3)).all()
    (tmp_path / "a.yaml").write_text("a: [1, 2]\nb: {c: 0.5}\n")
    assert reading.read_yaml(tmp_path / "a.yaml") == {"a": [1, 2], "b": {"c": 0.5}}
