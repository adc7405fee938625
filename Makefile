# SPDX-License-Identifier: Apache-2.0
# Every target sets up what it needs first, once, in .venv. On a machine with ROS 2 sourced, colcon builds this tree as well
# (see README.md); these targets then still use .venv, so they must not see the sourced ROS 2.
ifdef ROS_DISTRO
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH RMW_IMPLEMENTATION ROS_DISTRO
endif

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
SETUP_INPUTS := tools/setup.sh setup.py pyproject.toml CMakeLists.txt package.xml $(wildcard action/* cmake/* msg/* native/* srv/*) \
  $(shell find support -type f)

export QUERY

.PHONY: help setup demo test train lint clean

help:
	@echo 'make demo [QUERY="the red mug; a spoon"]   set up, then answer phrases about a recorded tabletop over ROS 2'
	@echo 'make test    set up, then run the tests'
	@echo 'make train   set up, then make such a model from nothing (hours on 2 cores)'
	@echo 'make lint    set up, then check lint, format and types'
	@echo 'make setup   set up only: PYTHON=python3.12 picks the interpreter'
	@echo 'make clean   remove what set-up, builds and the demo wrote'

setup: $(READY)

$(READY): $(SETUP_INPUTS)
	@VENV=$(VENV) bash tools/setup.sh
	@touch $@

demo: $(READY)
	@$(BIN)/python -m dropclip_ros.nodes.demo --query "$$QUERY"

test: $(READY)
	$(BIN)/python -m pytest

train: $(READY)
	$(BIN)/python -m training.make --out runs/large

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

clean:
	rm -rf $(VENV) build out *.egg-info dropclip_ros/action dropclip_ros/msg dropclip_ros/srv dropclip_ros/*.so
