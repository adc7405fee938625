# SPDX-License-Identifier: Apache-2.0
"""Several nodes in one process: what they share is loaded once, and two cores are not asked for by four processes.

    ros2 run dropclip_ros together [grounding_node proposal_node grasp_matcher_node ...] --ros-args ...

Each keeps its name, threads and parameters; a parameter that is given by `-p` is that of every node which has it.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from dropclip_ros.ros.common import run

USUAL = ("grounding_node", "proposal_node", "grasp_matcher_node")
CLASSES = {
    "bag_player": "BagPlayer",
    "grasp_matcher_node": "GraspMatcherNode",
    "grasp_rows_node": "GraspRowsNode",
    "grounding_node": "GroundingNode",
    "hggd_node": "HggdNode",
    "image_folder_node": "ImageFolderNode",
    "proposal_node": "ProposalNode",
}
IMPORTS = {"grounding_node": ("dropclip_ros.grounding.pipeline",), "hggd_node": ("torch", "torchvision")}


def chosen(words: Sequence[str]) -> list[str]:
    """Names of the nodes before --ros-args; the usual three where none are named. Ends the program for another name."""
    names = list(words[: words.index("--ros-args")] if "--ros-args" in words else words) or list(USUAL)
    unknown = [name for name in names if name not in CLASSES]
    if unknown or len(set(names)) < len(names):
        what = f"there is no node {unknown[0]!r}" if unknown else "a node is named twice"
        print(f"together: cannot start: {what}; expected some of {', '.join(CLASSES)}", file=sys.stderr)
        sys.exit(2)
    return names


def main() -> None:
    names = chosen(sys.argv[1:])
    early = [module for name in names for module in IMPORTS.get(name, ())]
    for module in (*early, *(f"dropclip_ros.nodes.{name}" for name in names)):
        import_module(module)
    run(*(getattr(sys.modules[f"dropclip_ros.nodes.{name}"], CLASSES[name]) for name in names))


if __name__ == "__main__":
    main()
