# SPDX-License-Identifier: Apache-2.0
"""What a lab adapts, as far as it can be checked without Gazebo and MoveIt: the robot's description expanded and moved
beside the embedded workcell, and the world, the bridge and the settings of MoveIt beside the description."""

from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

mujoco = pytest.importorskip("mujoco", reason="mujoco is not installed (make setup)")
xacrodoc = pytest.importorskip("xacrodoc", reason="xacrodoc is not installed (make setup)")

from dropclip_ros.grasping.grippers import ROBOTIQ_2F_140  # noqa: E402
from training.trials.gazebo_models import model_sdf, write_model  # noqa: E402
from training.workcell.cell import CellConfig  # noqa: E402
from training.workcell.robot import HOME, JOINTS, LIMITS, dh_matrix  # noqa: E402

CONFIG = Path(__file__).resolve().parents[2] / "config"
ARM = CONFIG / "ur5e"
FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # a camera link: x forward, z up


@pytest.fixture(scope="module")
def expand(shared_data):
    """Expands a xacro file with arguments, the published descriptions being at hand."""
    robots = shared_data / "robots"
    if not robots.is_dir():
        pytest.skip(f"the published robot descriptions are not at {robots}")
    folders = {
        "ur_description": robots / "ur_description",
        "dropclip_ros": CONFIG.parent,
        "robotiq_description": robots / "robotiq_picknik/robotiq_description",
    }
    xacrodoc.packages.update_package_cache(folders)

    def expanded(name: str, **arguments: str) -> str:
        return xacrodoc.XacroDoc.from_file(str(ARM / name), subargs=arguments).to_urdf_string(use_protocols=False)

    return expanded


def in_mujoco(urdf: str) -> mujoco.MjModel:
    """A URDF with all its frames as bodies; visual meshes (Collada) are left out."""
    compiler = '<compiler strippath="false" discardvisual="true" fusestatic="false" balanceinertia="true"/>'
    return mujoco.MjModel.from_xml_string(urdf.replace("</robot>", f"<mujoco>{compiler}</mujoco></robot>"))


@pytest.mark.parametrize("gripper, pads", [("2f_140", "inner_finger_pad"), ("2f_85", "finger_tip_link")])
def test_the_description_moves_as_the_embedded_arm(expand, gripper, pads):
    model = in_mujoco(expand("workcell.urdf.xacro", gripper=gripper))
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    expected_base = CellConfig().world_from_base @ np.diag([-1.0, -1, 1, 1])  # ur_description turns the DH base
    for _ in range(5):
        angles = rng.uniform(-np.pi, np.pi, 6)
        expected = expected_base
        for k, (joint, angle) in enumerate(zip(JOINTS, angles, strict=True)):
            data.qpos[model.joint(joint).qposadr[0]] = angle
            expected = expected @ dh_matrix(k, angle)
        mujoco.mj_kinematics(model, data)
        tool = data.body("tool0")
        turned = tool.xmat.reshape(3, 3)
        assert np.allclose(tool.xpos, expected[:3, 3], atol=1e-5) and np.allclose(turned, expected[:3, :3], atol=1e-5)
        tip = data.body("gripper_tip")
        assert np.allclose(turned.T @ (tip.xpos - tool.xpos), [0, 0, ROBOTIQ_2F_140.tip_distance[-1][1]], atol=1e-6)
        assert np.allclose(turned.T @ tip.xmat.reshape(3, 3), [[0, 0, -1], [0, 1, 0], [1, 0, 0]], atol=1e-6)
        fingers = [model.body(i).name for i in range(model.nbody) if model.body(i).name.endswith(pads)]
        x, y, _ = np.array([turned.T @ (data.body(name).xpos - tool.xpos) for name in fingers]).T
        assert np.allclose(x, 0, atol=1e-4) and np.isclose(y.sum(), 0, atol=1e-4) and np.abs(y).min() > 0.05
    limits = [model.joint(joint).range for joint in JOINTS]
    assert np.allclose(limits, np.stack([-LIMITS, LIMITS], axis=1), atol=1e-3)


def test_two_arms_have_names_of_their_own(expand):
    root = Xml.fromstring(expand("workcell.urdf.xacro", tf_prefix="left_", base_xyz="0 0.5 0"))
    links = {link.get("name") for link in root.iter("link")}
    assert links - {"world"} and all(name.startswith("left_") for name in links - {"world"})


@pytest.mark.parametrize(
    "argument, plugin", [("sim_gazebo", "gz_ros2_control/GazeboSimSystem"), ("mock", "mock_components/GenericSystem")]
)
def test_simulated_hardware_drives_arm_and_gripper(expand, argument, plugin):
    root = Xml.fromstring(expand("workcell.urdf.xacro", **{argument: "true"}))
    systems = root.findall("ros2_control")
    assert [system.find("hardware/plugin").text for system in systems] == [plugin, plugin]
    driven = {joint.get("name"): joint for system in systems for joint in system.iter("joint")}
    assert {*JOINTS, "finger_joint"} <= driven.keys()
    home = [float(driven[joint].find("state_interface/param").text) for joint in JOINTS]
    assert np.allclose(home, HOME, atol=1e-3)
    assert (root.find("gazebo/plugin") is not None) == (argument == "sim_gazebo")


@pytest.mark.parametrize("gripper", ["2f_140", "2f_85"])
def test_the_srdf_speaks_of_links_and_joints_that_there_are(expand, gripper):
    urdf, srdf = (Xml.fromstring(expand(f"workcell.{kind}.xacro", gripper=gripper)) for kind in ("urdf", "srdf"))
    told = yaml.safe_load((ARM / "grippers.yaml").read_text())[f"robotiq_{gripper}"]
    assert srdf.find("group[@name='gripper']/joint").get("name") == told["joint"]
    assert float(srdf.find("group_state[@name='closed']/joint").get("value")) == told["closed"]
    links = {link.get("name") for link in urdf.iter("link")}
    joints = {joint.get("name"): joint for joint in urdf.findall("joint")}
    chain = srdf.find("group/chain")
    assert {chain.get("base_link"), chain.get("tip_link")} <= links
    pairs = [frozenset((pair.get("link1"), pair.get("link2"))) for pair in srdf.iter("disable_collisions")]
    assert (
        set(told["links"]) <= set().union(*pairs) <= links
        and len(pairs) == len(set(pairs))
        and all(len(pair) == 2 for pair in pairs)
    )
    mimics = {name for name, joint in joints.items() if joint.find("mimic") is not None}
    assert {joint.get("name") for joint in srdf.findall("passive_joint")} == mimics
    for state in srdf.findall("group_state"):
        for joint in state:
            limit = joints[joint.get("name")].find("limit")
            assert float(limit.get("lower")) <= float(joint.get("value")) <= float(limit.get("upper"))
    home = {joint.get("name"): float(joint.get("value")) for joint in srdf.find("group_state[@name='home']")}
    assert np.allclose([home[joint] for joint in JOINTS], HOME, atol=1e-3)


def test_the_hand_at_home_touches_only_what_the_srdf_allows(expand):
    """With the collision meshes of the descriptions, in MuJoCo: what it leaves out are neighbours in the tree."""
    model = in_mujoco(expand("workcell.urdf.xacro"))
    data = mujoco.MjData(model)
    for joint, angle in zip(JOINTS, HOME, strict=True):
        data.qpos[model.joint(joint).qposadr[0]] = angle
    mujoco.mj_forward(model, data)
    srdf = Xml.fromstring(expand("workcell.srdf.xacro"))
    allowed = {frozenset((pair.get("link1"), pair.get("link2"))) for pair in srdf.iter("disable_collisions")}
    touching = {
        frozenset(model.body(model.geom_bodyid[geom]).name for geom in pair)
        for pair, distance in zip(data.contact.geom, data.contact.dist, strict=True)
        if distance < 0
    }
    assert touching <= allowed


def test_controllers_are_told_of_joints_and_names_that_there_are():
    told = (ARM / "move_group.yaml").read_text().replace("$(var group)", "ur_manipulator")
    told = told.replace("$(var arm_controller)", "arm_controller")
    move_group = yaml.safe_load(told)["/**"]["ros__parameters"]
    controllers = yaml.safe_load((ARM / "controllers.yaml").read_text())
    known = controllers["controller_manager"]["ros__parameters"]
    manager = move_group["moveit_simple_controller_manager"]
    assert manager["controller_names"]
    for name in manager["controller_names"]:
        assert name in known and manager[name]["joints"] == controllers[name]["ros__parameters"]["joints"]
    assert tuple(controllers["arm_controller"]["ros__parameters"]["joints"]) == JOINTS
    assert set(JOINTS) <= move_group["robot_description_planning"]["joint_limits"].keys()
    octomap = yaml.safe_load((ARM / "octomap.yaml").read_text())["/**"]["ros__parameters"]
    assert octomap[octomap["sensors"][0]]["sensor_plugin"].endswith("DepthImageOctomapUpdater")


def pose_of(text: str) -> np.ndarray:
    numbers = [float(word) for word in text.split()]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.from_euler("xyz", numbers[3:]).as_matrix(), numbers[:3]
    return pose


def test_the_gazebo_world_is_the_embedded_one():
    world, config = Xml.parse(CONFIG / "gazebo/workcell.sdf").getroot().find("world"), CellConfig()
    for name, camera in zip(("camera", "overview"), config.cameras, strict=True):
        model = world.find(f"model[@name='{name}']")
        assert np.allclose(pose_of(model.find("pose").text), camera.pose @ np.linalg.inv(FROM_OPTICAL), atol=1e-4)
        for seen in model.iter("camera"):
            assert (int(seen.find("image/width").text), int(seen.find("image/height").text)) == (
                camera.width,
                camera.height,
            )
            fov = 2 * np.arctan(camera.width / 2 / camera.focal)
            assert float(seen.find("horizontal_fov").text) == pytest.approx(fov, abs=1e-4)
    size = np.array([float(word) for word in world.find("model[@name='table']//box/size").text.split()])
    assert np.allclose(size[:2] / 2, config.table)
    assert float(world.find("model[@name='table']/pose").text.split()[2]) == -size[2] / 2  # its top at z = 0
    kinds = {sensor.get("type") for sensor in world.iter("sensor")}
    assert kinds == {"rgbd_camera", "segmentation", "camera"}


def test_the_bridge_feeds_what_the_nodes_hear():
    world = (CONFIG / "gazebo/workcell.sdf").read_text()
    entries = yaml.safe_load((CONFIG / "gazebo/bridge.yaml").read_text())
    topics = {entry["ros_topic_name"].lstrip("/"): entry for entry in entries}
    names = {
        "camera/color/image_raw",
        "camera/aligned_depth_to_color/image_raw",
        "camera/color/camera_info",
        "camera/aligned_depth_to_color/camera_info",
        "overview/image_raw",
        "clock",
        "gazebo/poses",
        "gazebo/labels",
    }
    assert topics.keys() == names
    assert all(entry["direction"] == "GZ_TO_ROS" for entry in entries)
    for entry in entries:
        first = entry["gz_topic_name"].split("/")[1]
        assert (
            first == "clock"
            or (first == "world" and '<world name="workcell">' in world)
            or (f"<topic>{first}</topic>" in world)
        )


def test_objects_weigh_and_touch_in_gazebo_what_they_do_here(tmp_path):
    from training.objects.catalogue import Catalogue

    catalogue = Catalogue.procedural()
    model = catalogue.build(next(spec for spec in catalogue.specs if spec.name == "mug_12"))
    place = write_model(model, tmp_path)
    link = Xml.fromstring(model_sdf(model, 7, place)).find("model/link")
    assert float(link.find("inertial/mass").text) == pytest.approx(model.mass, rel=1e-4)
    assert len(link.findall("collision")) == len(model.hull_parts)
    assert link.find("visual/plugin/label").text == "7"
    for uri in link.iter("uri"):
        assert Path(uri.text.removeprefix("file://")).is_file()
    inertia = {e.tag: float(e.text) for e in link.find("inertial/inertia")}
    moments = [inertia[name] for name in ("ixx", "iyy", "izz")]
    assert min(moments) > 0 and all(a + b > c for a, b, c in (moments, moments[1:] + moments[:1], moments[::-1]))
    lines = (place / "visual.obj").read_text().splitlines()
    corners = np.array([[float(word) for word in line.split()[1:]] for line in lines if line.startswith("v ")])
    assert np.allclose(corners, model.vertices, atol=1e-6)
    assert sum(line.startswith("f ") for line in lines) == len(model.faces)
    assert write_model(model, tmp_path) == place  # once
