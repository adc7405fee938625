# SPDX-License-Identifier: Apache-2.0
"""Objects of a catalogue as Gazebo models: a textured mesh to look at, convex parts to touch."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import trimesh
from PIL import Image

from training.objects.spec import ObjectModel
from training.runs.files import write_atomically

SDF = "1.9"


def write_model(model: ObjectModel, folder: Path) -> Path:
    """Writes visual.obj with its texture, and part_K.obj for each convex part, into folder/NAME, once; returns that.

    Vertices are in metres, in the model's frame (z up).
    """
    place = folder / model.name
    if place.exists():
        return place
    with write_atomically(place) as part:
        part.mkdir()
        Image.fromarray(model.texture).save(part / "texture.png")
        (part / "visual.mtl").write_text("newmtl surface\nKd 1 1 1\nmap_Kd texture.png\n")
        corners = "\n".join(" ".join(f"{i + 1}/{i + 1}" for i in face) for face in model.faces)
        lines = [
            "mtllib visual.mtl",
            *(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in model.vertices),
            *(f"vt {u:.6f} {v:.6f}" for u, v in model.uv),
            "usemtl surface",
            *(f"f {face}" for face in corners.splitlines()),
        ]
        (part / "visual.obj").write_text("\n".join(lines) + "\n")
        for k, hull in enumerate(model.hull_parts):
            trimesh.Trimesh(hull, process=True).convex_hull.export(part / f"part_{k}.obj")
    return place


def model_sdf(model: ObjectModel, label: int, place: Path) -> str:
    """The SDF of an object; label: what the segmentation camera shows for it; place: what `write_model` returned."""
    root = Xml.Element("sdf", version=SDF)
    body = Xml.SubElement(root, "model", name=model.name)
    link = Xml.SubElement(body, "link", name=f"{model.name}_link")
    _inertial(link, model)
    for k in range(len(model.hull_parts)):
        touch = Xml.SubElement(link, "collision", name=f"part_{k}")
        _mesh(touch, place / f"part_{k}.obj")
        ode = _nested(touch, "surface", "friction", "ode")
        for name in ("mu", "mu2"):
            Xml.SubElement(ode, name).text = f"{model.friction:g}"
    visual = Xml.SubElement(link, "visual", name="visual")
    _mesh(visual, place / "visual.obj")
    plugin = Xml.SubElement(visual, "plugin", filename="gz-sim-label-system", name="gz::sim::systems::Label")
    Xml.SubElement(plugin, "label").text = str(label)
    return Xml.tostring(root, encoding="unicode")


def _inertial(link: Xml.Element, model: ObjectModel) -> None:
    """Mass, its middle and inertia of the convex parts, which weigh together what the object weighs."""
    whole = trimesh.util.concatenate([trimesh.Trimesh(part).convex_hull for part in model.hull_parts])
    whole.density = model.mass / whole.volume
    inertial = Xml.SubElement(link, "inertial")
    Xml.SubElement(inertial, "pose").text = " ".join(f"{x:.6f}" for x in (*whole.center_mass, 0, 0, 0))
    Xml.SubElement(inertial, "mass").text = f"{model.mass:.6f}"
    inertia, moments = Xml.SubElement(inertial, "inertia"), np.array(whole.moment_inertia)
    for name, (row, column) in zip(
        ("ixx", "ixy", "ixz", "iyy", "iyz", "izz"), zip(*np.triu_indices(3), strict=True), strict=True
    ):
        Xml.SubElement(inertia, name).text = f"{moments[row, column]:.9f}"


def _mesh(parent: Xml.Element, path: Path) -> None:
    _nested(parent, "geometry", "mesh", "uri").text = path.absolute().as_uri()


def _nested(parent: Xml.Element, *names: str) -> Xml.Element:
    for name in names:
        parent = Xml.SubElement(parent, name)
    return parent
