# SPDX-License-Identifier: Apache-2.0
"""A sentence in place of a traceback where a package is not installed."""

_ROS = "source /opt/ros/$ROS_DISTRO/setup.bash (or make setup, without ROS), with the Python that ROS was built for"
_PIP = "with this Python: {python} -m pip install {package}"
_HOW = {
    "rclpy": _ROS,
    "launch": _ROS,
    "sensor_msgs": _ROS,
    "moveit_msgs": "apt install ros-$ROS_DISTRO-moveit",
    "shape_msgs": "apt install ros-$ROS_DISTRO-shape-msgs",
    "control_msgs": "apt install ros-$ROS_DISTRO-control-msgs",
    "dropclip_ros.msg": "build the package (colcon build, or make setup) and source install/setup.bash",
    "dropclip_ros.srv": "build the package (colcon build, or make setup) and source install/setup.bash",
    "dropclip_ros.action": "build the package (colcon build, or make setup) and source install/setup.bash",
    "mujoco": "pip install -e .[train,sim]",
    "ompl": "pip install -e .[sim]",
}
_PACKAGES = {"open_clip": "open_clip_torch", "PIL": "pillow", "yaml": "pyyaml", "ur_analytic_ik": "ur_analytic_ik"}


def how_to_install(error: ImportError, python: str) -> str:
    """One sentence on a failed import: what is missing, and how to get it for the interpreter `python`."""
    name = error.name or ""
    if not isinstance(error, ModuleNotFoundError):
        return f"{name or 'a module'} cannot be imported: {error}"
    top = name.partition(".")[0]
    how = _HOW.get(name) or _HOW.get(top) or _PIP.format(python=python, package=_PACKAGES.get(top, top))
    return f"the Python module {name} is not installed; {how} (docs/install.md)"
