# SPDX-License-Identifier: Apache-2.0
"""Builds the interfaces where pip, not colcon, installs the package: on machines without a ROS 2 install.

A ROS 2 install builds this tree through package.xml and CMakeLists.txt and never runs this file. Here the same
CMakeLists.txt runs against the PyPI ros-* wheels, and what it installs goes where the wheels put theirs: lib*.so in
<prefix>/lib, share/ in <prefix>/share, the generated dropclip_ros/{msg,srv,action} beside the hand-written modules.
The wheels lack tf2_msgs and vision_msgs: what of them is used here is in support/.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
PACKAGE = "dropclip_ros"


def ros_prefixes() -> list[str]:
    """Prefixes with rosidl's CMake packages: this environment's and pip's build environment's."""
    prefixes = [sys.prefix] + [str(Path(p).parents[2]) for p in sys.path if p.endswith("site-packages")]
    return [p for p in dict.fromkeys(prefixes) if (Path(p) / "share/rosidl_default_generators/cmake").is_dir()]


def cmake_install(source: Path, build: Path, prefixes: list[str]) -> Path:
    """Configure, build and install one ament package; returns the install tree."""
    install = build / "install"
    shutil.rmtree(install, ignore_errors=True)
    build.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(prefixes)
    env = os.environ | {"AMENT_PREFIX_PATH": path, "CMAKE_PREFIX_PATH": path}
    cmake = shutil.which("cmake") or "cmake"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    subprocess.check_call(
        [
            cmake,
            "-S",
            str(source),
            "-B",
            str(build / "cmake"),
            *generator,
            f"-DCMAKE_INSTALL_PREFIX={install}",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF",
            f"-DPython3_EXECUTABLE={sys.executable}",
            f"-DPython3_INCLUDE_DIR={sysconfig.get_path('platinclude')}",
            f"-DCMAKE_PROJECT_INCLUDE={HERE / 'cmake/ros_wheels.cmake'}",
        ],
        env=env,
    )
    subprocess.check_call([cmake, "--build", str(build / "cmake"), "--target", "install"], env=env)
    return install


def python_package(install: Path, name: str) -> Path:
    """The package's folder below an install tree, wherever this Python's scheme puts it."""
    return next(p for d in ("site-packages", "dist-packages") for p in install.glob(f"l*/**/python*/{d}/{name}"))


class BuildInterfaces(build_ext):
    """Runs CMake and hands its install tree to setuptools."""

    def run(self) -> None:
        prefixes = ros_prefixes()
        if os.environ.get("ROS_DISTRO") or not prefixes:
            print(
                f"{PACKAGE}: interfaces not built here (ROS 2 is sourced: colcon builds them; "
                "or there are no ros-* wheels for this platform)",
                file=sys.stderr,
            )
            return
        build = Path(self.build_temp).resolve()
        install = cmake_install(HERE, build / PACKAGE, prefixes)
        in_place = self.inplace or getattr(self, "editable_mode", False)
        target = HERE / PACKAGE if in_place else Path(self.build_lib).resolve() / PACKAGE
        target.mkdir(parents=True, exist_ok=True)
        source = python_package(install, PACKAGE)
        for generated in ("msg", "srv", "action"):
            shutil.rmtree(target / generated, ignore_errors=True)
            shutil.copytree(source / generated, target / generated, ignore=shutil.ignore_patterns("*.c"))
        for library in source.glob("*.so"):
            beside = target / f".{library.name}"
            shutil.copy2(library, beside)
            beside.replace(target / library.name)  # a process may have the old one mapped
        self._add_data(install)
        for name in sorted(path.name for path in (HERE / "support").iterdir()):
            if any((Path(p) / f"share/{name}/cmake").is_dir() for p in prefixes):
                continue
            install = cmake_install(HERE / "support" / name, build / name, prefixes)
            self._add_data(install)
            purelib = os.path.relpath(sysconfig.get_path("purelib"), sys.prefix)
            self._add_files(python_package(install, name), f"{purelib}/{name}")

    def _add_data(self, install: Path) -> None:
        libraries = [os.path.relpath(p, HERE) for p in (install / "lib").glob("lib*.so")]
        self.distribution.data_files.append(("lib", libraries))
        self._add_files(install / "share", "share")

    def _add_files(self, folder: Path, destination: str) -> None:
        """Every file of `folder`, placed below <prefix>/<destination>."""
        for d, _, files in os.walk(folder):
            paths = [os.path.relpath(os.path.join(d, f), HERE) for f in files]
            if paths:
                place = os.path.normpath(os.path.join(destination, os.path.relpath(d, folder)))
                self.distribution.data_files.append((place, paths))

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class DistributionWithData(Distribution):
    # setuptools' editable_wheel asks for has_<category>() and so never finds has_data_files()
    has_data = Distribution.has_data_files


setup(
    distclass=DistributionWithData,
    ext_modules=[Extension(f"{PACKAGE}._interfaces", sources=[])],  # makes build_ext run
    cmdclass={"build_ext": BuildInterfaces},
    data_files=[],
    zip_safe=False,
)
