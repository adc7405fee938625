# SPDX-License-Identifier: Apache-2.0
"""Builds and installs the package as colcon does, into an empty folder, and starts every node from there.

    python tools/check_install.py [--work FOLDER]

Against the ros-* wheels of this environment (cmake/ros_wheels.cmake); 3 minutes. Every program must be there, run from
the install tree alone, refuse a parameter with one line and code 2, and otherwise live until a signal, then end with 0.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[1]
NEEDS = {  # what a node cannot start without
    "bag_player": [f"bag:={ROOT / 'demo/tabletop'}"],
    "dropclip": None,  # a program with words
    "image_folder_node": None,  # a folder of images
    "moveit_pick_node": None,  # MoveIt's messages
    "pick": None,  # a program with words
}
SECONDS = 12.0  # of life that count as a start


def build_environment(folder: Path) -> Path:
    """An environment with what pyproject.toml asks for to build: CMake and rosidl's generators."""
    if not (folder / "bin/cmake").is_file():
        requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
        venv.create(folder, with_pip=True)
        subprocess.check_call([folder / "bin/pip", "install", "-q", *requires])
    return folder


def install(work: Path) -> Path:
    """Configures, builds and installs; returns the prefix."""
    prefix = work / "install"
    shutil.rmtree(prefix, ignore_errors=True)
    tools = build_environment(work / "buildenv")
    path = os.pathsep.join((str(tools), sys.prefix))
    environment = os.environ | {"AMENT_PREFIX_PATH": path, "CMAKE_PREFIX_PATH": path}
    environment["PATH"] = os.pathsep.join((str(tools / "bin"), os.environ["PATH"]))
    configure = [
        *(
            "cmake",
            "-S",
            str(ROOT),
            "-B",
            str(work / "build"),
            f"-DCMAKE_INSTALL_PREFIX={prefix}",
            "-DBUILD_TESTING=OFF",
        ),
        f"-DPython3_EXECUTABLE={tools / 'bin/python'}",
        f"-DPython3_INCLUDE_DIR={sysconfig.get_path('platinclude')}",
        f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'cmake/ros_wheels.cmake'}",
    ]
    with open(work / "build.log", "w") as log:
        for command in (configure, ["cmake", "--build", str(work / "build"), "--target", "install", "-j2"]):
            if subprocess.run(command, env=environment, stdout=log, stderr=log).returncode:
                sys.exit(f"check_install: {' '.join(command[:3])} failed: see {work / 'build.log'}")
    return prefix


def started(prefix: Path, node: str, *words: str, seconds: float = SECONDS) -> tuple[int, str]:
    """Exit code of the installed program, and what it wrote; it gets SIGINT after so long."""
    (site,) = (path.parent for path in prefix.glob("**/site-packages/dropclip_ros"))
    libraries = os.pathsep.join(filter(None, (str(prefix / "lib"), os.environ.get("LD_LIBRARY_PATH"))))
    environment = os.environ | {
        "PYTHONPATH": str(site),
        "LD_LIBRARY_PATH": libraries,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),  # for env python3
        "AMENT_PREFIX_PATH": os.pathsep.join((str(prefix), sys.prefix)),
    }
    program = prefix / "lib/dropclip_ros" / node
    process = subprocess.Popen(
        [program, "--ros-args", *words], env=environment, cwd="/", text=True, stdout=-1, stderr=subprocess.STDOUT
    )
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        out, _ = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
        out += "does not end on SIGINT"
    return process.returncode, out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, help="folder to build in (default: a temporary one)")
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        prefix = install(work)
        for program in sorted((prefix / "lib/dropclip_ros").iterdir()):
            code, out = started(prefix, program.name, "-p", "use_sim_time:=many", seconds=60)
            usage = program.name in ("pick", "dropclip")
            refused = code == 2 and (len(out.strip().splitlines()) == 1 or usage)
            line = f"{program.name}: refuses {'in one line, code 2' if refused else f'WRONGLY, code {code}: {out}'}"
            told = NEEDS.get(program.name, [])
            if told is not None:
                code, out = started(prefix, program.name, *(word for one in told for word in ("-p", one)))
                line += f"; starts, ends with code {code}" if not code else f"; DOES NOT START, code {code}: {out}"
            failed += not refused or bool(told is not None and code)
            print(line, flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
