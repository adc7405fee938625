#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every launch file under a distro's own launch and launch_ros, up to the processes that would be started.

    python scripts/check_launch.py humble CHECKOUT_OF_LAUNCH CHECKOUT_OF_LAUNCH_ROS [--names]

Both are pure Python; what they need beside it (osrf_pycommon, composition_interfaces) and the packages that the launch
files name are stubs here, so no ROS is needed: rclpy alone, of any distro. Nothing is started. Prints, for every file
and choice of arguments, the commands with their parameters; `--names` prints the distro's part of
test/launch_names.yaml. Ends with code 1 where a file fails.
"""

import argparse
import inspect
import os
import re
import shutil
import sys
import tempfile
import types
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OTHERS = {  # what the launch files start of other packages
    "rviz2": ["rviz2"],
    "robot_state_publisher": ["robot_state_publisher"],
    "controller_manager": ["ros2_control_node", "spawner"],
    "moveit_ros_move_group": ["move_group"],
    "ros_gz_sim": ["create"],
    "ros_gz_bridge": ["parameter_bridge"],
    "tf2_ros": ["static_transform_publisher"],
}
CAMERAS = ("realsense", "zed", "zed5", "orbbec", "azure_kinect", "gazebo", "topics", "zivid")
CASES = [
    *(("grounding.launch.py", {"camera": camera, "rviz": "true"}) for camera in CAMERAS),
    ("grounding.launch.py", {"namespace": "left", "table_frame": "left_table", "use_sim_time": "true"}),
    ("grounding.launch.py", {"color_topic": "/c", "depth_topic": "/d", "info_topic": "/i", "transport": "compressed"}),
    ("grounding.launch.py", {"camera": "zivid", "transport": "points", "points_topic": "/p", "table_height": "0.0"}),
    *(("grasping.launch.py", {"proposals": name}) for name in ("antipodal", "hggd", "rows")),
    *(
        ("moveit.launch.py", {"mode": mode, "gripper": gripper})
        for mode in ("drivers", "mock", "gazebo")
        for gripper in ("robotiq_2f_140", "robotiq_2f_85")
    ),
    ("moveit.launch.py", {"mode": "mock", "namespace": "left"}),
    ("moveit.launch.py", {"octomap": "false", "base_xyz": "0.1 0 0.7", "kinematics": "/k.yaml"}),
    ("trials.launch.py", {}),
    ("gazebo_trials.launch.py", {}),
]
NOT_ON = {"humble": lambda file, told: "gazebo" in file or told.get("mode") == "gazebo"}  # which say so in one sentence
MODULES = (
    "launch",
    "launch.actions",
    "launch.conditions",
    "launch.launch_description_sources",
    "launch.substitutions",
    "launch_ros.actions",
    "launch_ros.parameter_descriptions",
    "launch_ros.substitutions",
)


def stub(name: str, **members) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)


def use(launch: Path, launch_ros: Path) -> None:
    """Puts the checkouts first on the path, and stubs in the place of what they import and never call here."""
    for path in (launch / "launch", launch_ros / "launch_ros", ROOT):
        if not path.is_dir():
            sys.exit(f"check_launch: {path} is not there; expected checkouts of ros2/launch and ros2/launch_ros")
        sys.path.insert(0, str(path))
    stub("osrf_pycommon")
    stub("osrf_pycommon.process_utils", which=shutil.which, async_execute_process=None, AsyncSubprocessProtocol=object)
    stub("composition_interfaces")
    stub("composition_interfaces.srv", LoadNode=type("LoadNode", (), {"Request": object, "Response": object}))


def install(prefix: Path, launch: Path) -> None:
    """Writes an install tree that has our launch files and configurations, and an empty program for every node."""
    nodes = re.search(r"foreach\(node ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text()).group(1).split()
    for package, programs in (OTHERS | {"dropclip_ros": nodes}).items():
        index = prefix / "share/ament_index/resource_index/packages"
        for folder in (index, prefix / "share" / package, prefix / "lib" / package):
            folder.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        for program in programs:
            write_program(prefix / "lib" / package / program, "#!/bin/sh\n")
    for folder in ("launch", "config"):
        (prefix / "share/dropclip_ros" / folder).symlink_to(ROOT / folder)
    gazebo = prefix / "share/ros_gz_sim/launch/gz_sim.launch.py"
    gazebo.parent.mkdir()
    gazebo.write_text(
        "from launch import LaunchDescription\nfrom launch.actions import DeclareLaunchArgument, ExecuteProcess\n"
        "from launch.substitutions import LaunchConfiguration\n\n\ndef generate_launch_description():\n"
        "    run = ExecuteProcess(cmd=['gz', 'sim', LaunchConfiguration('gz_args')])\n"
        "    return LaunchDescription([DeclareLaunchArgument('gz_args', default_value=''), run])\n"
    )
    (prefix / "share/ament_index/resource_index/packages/launch").touch()
    (prefix / "share/launch").symlink_to(launch / "launch/share/launch")
    (prefix / "bin").mkdir()
    write_program(prefix / "bin/xacro", '#!/bin/sh\nfor word; do printf "%s " "$(basename "$word")"; done\n')
    os.environ["AMENT_PREFIX_PATH"] = str(prefix)
    os.environ["PATH"] = f"{prefix / 'bin'}:{os.environ['PATH']}"


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def processes(file: Path, told: dict[str, str]) -> list[list[str]]:
    """The commands that a launch file comes to, with parameters in place of the files that hold them."""
    from launch import LaunchContext
    from launch.actions import DeclareLaunchArgument, ExecuteProcess
    from launch.actions.execute_local import ExecuteLocal

    commands, declared = [], set()

    def execute(action: ExecuteProcess, context: LaunchContext) -> None:
        """In place of launch's own: everything up to the process."""
        action.prepare(context)
        commands.append([shown(word) for word in action.process_description.final_cmd])

    def visit(entity) -> None:
        if isinstance(entity, DeclareLaunchArgument):
            declared.add(entity.name)
        for inner in entity.visit(context) or ():
            visit(inner)

    ExecuteLocal.execute = execute
    spec = spec_from_file_location(file.name.replace(".", "_"), file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    context = LaunchContext()
    context.launch_configurations.update(told)
    visit(module.generate_launch_description())
    assert set(told) <= declared, f"{file.name} does not declare {set(told) - declared}"
    return commands


def shown(word: str) -> str:
    """A word of a command; a file of parameters that launch_ros wrote by what is in it."""
    written = Path(word).name.startswith("launch_params_")
    return " ".join(Path(word).read_text().split()) if written else word


def names() -> dict[str, dict[str, str]]:
    """Public names by module, with the names of the parameters that each takes (its bases' where it passes them on)."""

    def parameters(kind) -> list[str]:
        found: dict[str, None] = {}
        for base in getattr(kind, "__mro__", [kind]):
            if "__init__" not in vars(base) and base is not kind:
                continue
            signature = inspect.signature(base.__init__ if inspect.isclass(base) else base)
            kinds = [p.kind for p in signature.parameters.values()]
            found |= dict.fromkeys(
                ("*" if p.kind is p.VAR_POSITIONAL else "") + name
                for name, p in signature.parameters.items()
                if name != "self" and p.kind is not p.VAR_KEYWORD
            )
            if inspect.Parameter.VAR_KEYWORD not in kinds:
                break
        return list(found)

    table = {}
    for module in map(import_module, MODULES):
        own = getattr(module, "__all__", [])
        own = own or [name for name, it in vars(module).items() if getattr(it, "__module__", "") == module.__name__]
        public = {name: getattr(module, name) for name in sorted(own)}
        table[module.__name__] = {name: " ".join(parameters(it)) for name, it in public.items() if callable(it)}
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("distro", help="humble, jazzy, kilted: ROS_DISTRO while the files run")
    parser.add_argument("launch", type=Path, help="checkout of ros2/launch")
    parser.add_argument("launch_ros", type=Path, help="checkout of ros2/launch_ros")
    parser.add_argument("--names", action="store_true", help="print the names that the distro has, and end")
    args = parser.parse_args()
    use(args.launch.resolve(), args.launch_ros.resolve())
    os.environ["ROS_DISTRO"] = args.distro
    if args.names:
        import yaml

        print(yaml.safe_dump({args.distro: names()}, width=1000, sort_keys=False), end="")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as prefix:
        install(Path(prefix), args.launch.resolve())
        for file, told in CASES:
            print(f"{args.distro}: {file} {' '.join(f'{name}:={value}' for name, value in told.items())}")
            refused = NOT_ON.get(args.distro, lambda *_: False)(file, told)
            try:
                for words in processes(ROOT / "launch" / file, told):
                    print("   ", " ".join(words).replace(prefix, "PREFIX"))
                failed += refused
            except Exception as error:
                expected = refused and type(error).__name__ == "LaunchError"
                print(f"    {'refused' if expected else 'FAILED'}: {type(error).__name__}: {error}")
                failed += not expected
    print(f"{args.distro}: {len(CASES)} cases, {failed} failed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
