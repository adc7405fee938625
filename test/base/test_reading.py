# SPDX-License-Identifier: Apache-2.0
"""A pipe in place of a file ends in one line; nothing waits for who may write into it."""

import os
import subprocess
import sys

import pytest

READ = {
    "image": "from dropclip_ros.vision.geometry import read_image as read",
    "depth": "from dropclip_ros.vision.geometry import _read_npy as read",
    "intrinsics": "from dropclip_ros.vision.geometry import Intrinsics; read = Intrinsics.from_json",
    "rows": "from dropclip_ros.grasping.grasps import load_rows as read",
    "model": "from dropclip_ros.base.files import load_tensors as read",
    "digest": "from dropclip_ros.base.files import sha256_of as read",
    "scene": "from dropclip_ros.grounding.static_scene import StaticScene; read = StaticScene.load",
    "frames": "from dropclip_ros.commands.calibrate import read_frames as read",
    "checkpoint": "from dropclip_ros.networks.minkowski_checkpoint import read_minkowski as read",
}
ENDS = """
import signal, sys
from pathlib import Path
from dropclip_ros.base.errors import DropclipError
for line in sys.argv[2:]:
    exec(line)
    signal.alarm(5)
    try:
        read(Path(sys.argv[1]))
    except DropclipError as error:
        print(error)
    signal.alarm(0)
"""


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_no_reader_waits_for_a_pipe(pipe):
    done = subprocess.run([sys.executable, "-c", ENDS, str(pipe), *READ.values()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(READ) and all("pipe or a device" in line for line in lines), lines
