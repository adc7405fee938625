# SPDX-License-Identifier: Apache-2.0
"""`dropclip model` and `dropclip calibrate`, with a tiny CLIP made on the spot: folders that ground, and refusals."""

import json
import os
import time
import zipfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_support import make_clip, write_frame
from PIL import Image
from safetensors.torch import save_file

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.cli import main
from dropclip_ros.grasping.presets import A7
from dropclip_ros.grounding.pipeline import Grounder
from dropclip_ros.networks.activation import MARGIN, doubt, separation
from dropclip_ros.networks.clip import ClipSource, check_said_activation, load_clip, trained_activation
from dropclip_ros.networks.encoder import EncoderConfig, MinkUNet14D
from dropclip_ros.networks.image import ImageConfig, cut_crop, to_images
from dropclip_ros.networks.minkowski_checkpoint import write_minkowski
from dropclip_ros.networks.model_folder import ModelConfig, load_config
from dropclip_ros.networks.text import TextConfig

NARROW = (4, 4, 8, 8, 8, 8, 4, 5)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def model(tmp_path_factory, clip) -> Path:
    """Made by the command from a relative path, to be used from elsewhere."""
    folder = tmp_path_factory.mktemp("made")
    before = Path.cwd()
    os.chdir(clip.parent)
    try:
        assert main(["model", "create", str(folder / "named"), "--tower", clip.name, "--crop", "both"]) == 0
    finally:
        os.chdir(before)
    return folder / "named"


@pytest.fixture(scope="module")
def frame(make_tabletop):
    return make_tabletop().frame


def refusal(capsys, *arguments) -> str:
    assert main([str(part) for part in arguments]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("dropclip: ")
    return error


def test_a_created_model_names_by_its_towers_alone(model, clip, frame):
    config = load_config(model)
    assert config.encoder.out_channels != 24 and not config.encoder_names  # the widths need not match
    grounder = Grounder.from_pretrained(model)
    scene = grounder.encode(frame)
    assert scene.basis is None and "instance_features" not in vars(scene)  # not before somebody asks
    first = grounder.ground(scene, "the red mug")
    assert "image" in first.timing_ms and "image" not in grounder.ground(scene, "a box").timing_ms
    assert scene.instance_features.shape == (scene.instances.max(), 24)
    both = load_clip(ClipSource(str(clip)))
    labels = scene.image(Grounder.instances(scene))
    one = grounder.image.embed(frame.rgb, np.where(labels == 1, 1, 0))
    torch.testing.assert_close(scene.instance_features[:1], one)
    phrase = torch.nn.functional.normalize(both.model.encode_text(both.tokenizer(["x", "a photo of x"])), dim=-1)
    torch.testing.assert_close(grounder.text.encode(["x"])[0], torch.nn.functional.normalize(phrase.mean(0), dim=0))


def test_crops_are_masked_with_the_picture_s_mean(model, frame):
    tower = Grounder.from_pretrained(model).image
    assert tower.config.background == "mean" and tower.config.crop == "both"
    labels = np.zeros(frame.depth.shape, int)
    labels[100:140, 100:140] = 1
    crop, mask = cut_crop(Image.fromarray(frame.rgb), labels == 1, tower.size)
    filled = np.where(mask[..., None], crop, frame.rgb.mean((0, 1)).round().astype(np.uint8))
    seen = [tower.network(to_images(shown[None], None, **tower.norm)) for shown in (filled, crop)]
    expected = torch.nn.functional.normalize(sum(torch.nn.functional.normalize(one, dim=-1) for one in seen), dim=-1)
    torch.testing.assert_close(tower.embed(frame.rgb, labels), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("scoring", ["paper", "argmax", "release"])
def test_the_paper_s_scoring_answers_with_points(model, frame, scoring):
    grounder = Grounder.from_pretrained(model)
    scene = grounder.encode(frame)
    result = grounder.ground(scene, "mug", ["box", "ball"], scoring=scoring, threshold=0.3)
    assert len(result.objects) <= 1
    if scoring == "release":
        assert result.status is Status.OK and result.scores.max() == pytest.approx(1)
    with pytest.raises(DropclipError, match="there are none"):
        grounder.ground(scene, "mug", mode="none", scoring=scoring)
    with pytest.raises(DropclipError, match="expected one of instances"):
        grounder.ground(scene, "mug", scoring="softmax")


def test_a7_from_the_command_line(model, frame, tmp_path, capsys):
    write_frame(tmp_path, frame)
    said = ["--rgb", "a.png", "--depth", "a_depth.png", "--intrinsics", "a_k.json"]
    said = [part if part.startswith("--") else str(tmp_path / part) for part in said]
    code = main(
        ["ground", *said, "--model", str(model), "--query", "mug", "--preset", "a7", "--negative", "box", "--json"]
    )
    (answer,) = json.loads(capsys.readouterr().out)
    assert code == 0 and answer["threshold"] == A7.threshold == 0.7 and len(answer["instances"]) <= 1
    assert A7.match.rank == "distance" and A7.match.top_k == 3 and A7.workspace.search.iterations == 1000


def test_the_two_towers_belong_together():
    with pytest.raises(ValueError, match="belong together"):
        ModelConfig("m", text=TextConfig("ViT-B-32", "laion2b_s34b_b79k"), image=ImageConfig("ViT-B-16", "openai"))


def test_openai_weights_under_a_plain_name_are_refused(tmp_path, capsys):
    error = refusal(capsys, "model", "create", tmp_path / "m", "--tower", "ViT-L-14-336", "--pretrained", "openai")
    assert "quickgelu" in error and "ViT-L-14-336-quickgelu" in error
    digest = "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"
    (tmp_path / "w.pt").write_bytes(b"x")
    assert trained_activation(ClipSource("ViT-L-14-336", str(tmp_path / "w.pt"), digest)) == "quickgelu"
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:  # the way OpenAI's lie on disk
        archive.writestr("model/code/__torch__/multimodal.py", "")
    assert trained_activation(ClipSource("ViT-L-14", str(tmp_path / "archive.pt"))) == "quickgelu"
    with pytest.raises(DropclipError, match="ViT-L-14-quickgelu"):
        load_clip(ClipSource("ViT-L-14", str(tmp_path / "archive.pt")))


def test_a_silent_file_needs_the_activation_said(clip, tmp_path):
    silent = make_clip(tmp_path / "silent", quick_gelu=None)
    with pytest.raises(DropclipError, match="--activation"):
        check_said_activation(ClipSource(str(silent)), None)
    check_said_activation(ClipSource(str(silent)), "gelu")
    with pytest.raises(DropclipError, match="computes with gelu"):
        check_said_activation(ClipSource(str(silent)), "quickgelu")
    check_said_activation(ClipSource(str(clip)), None)  # its config says


def test_ten_pictures_tell_which_activation_separates_better(clip, monkeypatch):
    loaded = load_clip(ClipSource(str(clip)))
    own, said = separation(loaded), doubt(loaded, "quickgelu")
    swapped = make_swapped(loaded)
    assert separation(swapped) != own
    assert (said is None) == (separation(swapped) <= own + MARGIN)
    assert separation(loaded) == own  # as it was
    for second, warned in ((0.5, False), (0.9, True)):
        found = iter((0.5, second))
        monkeypatch.setattr("dropclip_ros.networks.activation.separation", lambda _, found=found: next(found))
        assert (doubt(loaded, "quickgelu") is not None) == warned


def make_swapped(clip):
    model = deepcopy(clip.model)
    for block in (*model.visual.transformer.resblocks, *model.transformer.resblocks):
        block.mlp.gelu = torch.nn.GELU()
    return replace(clip, model=model)


@pytest.mark.parametrize(
    ("tower", "said"),
    [
        (["--tower", "no-such-tower", "--pretrained", "openai"], "knows no model of that name"),
        (["--tower", "ViT-B-32", "--pretrained", "no-such-tag"], "its tags are"),
        (["--tower", "ViT-B-32", "--pretrained", "laion2b_s34b_b79k"], "cannot be reached"),
        (["--tower", "hf-hub:nobody/nothing"], "cannot be reached"),
    ],
)
def test_what_cannot_be_had_is_said_within_ten_seconds(tmp_path, capsys, monkeypatch, tower, said):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens
    start = time.monotonic()
    assert said in refusal(capsys, "model", "create", tmp_path / "m", *tower)
    assert time.monotonic() - start < 10 and not (tmp_path / "m").exists()


def test_a_wrong_digest_and_a_taken_folder(clip, tmp_path, capsys):
    made = ["model", "create", tmp_path / "m", "--tower", clip]
    assert "SHA-256" in refusal(capsys, *made, "--sha256", "0" * 64)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "letter.txt").write_text("mine")
    assert "no model folder" in refusal(capsys, *made)


def checkpoint(path: Path, channels: int, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    write_minkowski(path, MinkUNet14D(EncoderConfig(3, channels, 4, NARROW)).eval())
    return path


def test_an_imported_checkpoint_sees_the_axes_it_was_trained_in(clip, frame, tmp_path, capsys):
    made = ["model", "import", checkpoint(tmp_path / "w.pth", 24), "--tower", clip]
    found = {}
    for axes in ("table", "camera", "world"):
        assert main([*map(str, made), str(tmp_path / axes), "--axes", axes]) == 0
        grounder = Grounder.from_pretrained(tmp_path / axes)
        assert grounder.config.frame.axes == axes and grounder.config.frame.centred
        found[axes] = grounder.encode(frame)
        assert grounder.ground(found[axes], "mug").scores.shape == (len(found[axes].points),)
    for scene in found.values():  # whatever the encoder sees, voxels are told in the table's frame
        height = scene.voxels.centers[:, 2]
        assert -0.02 < height.min() < 0.02 and 0.1 < height.max() < 0.15
    with pytest.raises(DropclipError, match="camera's pose"):
        grounder.encode(replace(frame, camera_pose=None))


def test_centred_features_do_not_depend_on_where_the_world_begins(clip, frame, tmp_path):
    made = ["model", "import", str(checkpoint(tmp_path / "w.pth", 24)), "--tower", str(clip)]
    moved = frame.camera_pose.copy()
    moved[:3, 3] += (0.035, 0.07, 0.0)  # seven voxels and more
    for centred, same in (("--centred", True), ("--no-centred", False)):
        assert main([*made, str(tmp_path / centred), centred]) == 0
        grounder = Grounder.from_pretrained(tmp_path / centred)
        first, second = (grounder.encode(replace(frame, camera_pose=pose)) for pose in (frame.camera_pose, moved))
        if same:
            torch.testing.assert_close(first.features, second.features, atol=2e-2, rtol=0)
        else:
            assert len(first.features) != len(second.features) or not torch.allclose(
                first.features, second.features, atol=2e-2
            )


def test_what_is_no_encoder_of_that_tower_is_refused(clip, tmp_path, capsys):
    wide = checkpoint(tmp_path / "wide.pth", 32)
    error = refusal(capsys, "model", "import", wide, "--tower", clip, tmp_path / "m")
    assert "32 channels" in error and "24" in error
    save_file({"conv0p1s1.kernel": torch.zeros(3)}, tmp_path / "other.safetensors")
    assert "MinkUNet14D" in refusal(
        capsys, "model", "import", tmp_path / "other.safetensors", "--tower", clip, tmp_path / "m"
    )
    assert not (tmp_path / "m").exists()


def test_calibration_on_ten_frames_of_one_s_own(model, make_tabletop, tmp_path, capsys):
    entries = []
    for seed in range(4):
        files = write_frame(tmp_path, make_tabletop(seed=seed, noise=0.001).frame, f"f{seed}")
        entries.append(files | {"there": ["box", "ball"], "absent": ["giraffe", "car"]})
    (tmp_path / "frames.json").write_text(json.dumps(entries))
    before = load_config(model)
    text = (model / "README.md").read_text()
    assert main(["calibrate", str(model), "--frames", str(tmp_path / "frames.json")]) == 0
    after, curve = load_config(model), json.loads((model / "calibration.json").read_text())
    assert after.image.null_similarity == curve["null_similarity"] != before.image.null_similarity
    assert after.sha256 == before.sha256 and curve["frames"] == 4 and len(curve["curve"]) == 19
    card = (model / "README.md").read_text()
    assert "None yet" in text and "Fitted on 4 frames" in card and card.count("**Calibration.**") == 1
    Grounder.from_pretrained(model)
    (tmp_path / "frames.json").write_text(json.dumps(entries[:2]))
    assert "Give more frames" in refusal(capsys, "calibrate", model, "--frames", tmp_path / "frames.json")
    (tmp_path / "frames.json").write_text("{}")
    assert "expected a list" in refusal(capsys, "calibrate", model, "--frames", tmp_path / "frames.json")
