# SPDX-License-Identifier: Apache-2.0
"""Methods of others: tiny random models in local folders, whose raw output an oracle replaces that sees only what the
model sees. What it finds must come back at the right points, through all resizing and padding."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.ndimage import label, maximum_filter, minimum_filter

from training.evaluate.methods.exported import ExportedInstances, ExportedMaps, Requests, problems_of, write_example
from training.evaluate.methods.methods2d import Boxes, ClipSeg, Detections, EverySam, GroundingDino, Owlv2, Sam
from training.evaluate.methods.pretrained import load_pretrained
from training.evaluate.methods.proposals import Proposals
from training.evaluate.protocol import WeightsAbsent
from training.fusion.clouds import Cloud
from training.scenes.scene import View

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "export"
HEIGHT, WIDTH = 48, 80
RED, BLUE = (slice(10, 30), slice(20, 50)), (slice(35, 45), slice(55, 75))  # rows and columns of two bright objects
TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
LEARNT = 1.0  # brightness in the model's input: white is over it, black and padding are not


class OneView:
    """A scene of one view, black with bright rectangles."""

    name = "scene"

    def __init__(self, *places):
        rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for place in places:
            rgb[place] = 255
        flat = np.zeros((HEIGHT, WIDTH))
        self._view = View(rgb, flat.astype(np.float32), flat.astype(np.uint8), np.eye(3), np.eye(4))

    def view(self, v):
        return self._view


def every_pixel() -> Cloud:
    """A point for each pixel, last first, so that the order of points is not that of pixels."""
    pixels = np.arange(HEIGHT * WIDTH)[::-1]
    zeros = np.zeros((len(pixels), 3), np.float32)
    return Cloud(zeros, zeros, np.full(len(pixels), 2), (0,), pixels)


def as_image(points) -> np.ndarray:
    """Values of the points of `every_pixel` as an image (H,W)."""
    return np.asarray(points)[::-1].reshape(HEIGHT, WIDTH)


def expected(place, value=1.0) -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH))
    image[place] = value
    return image


def clip_tokenizer(folder: Path):
    letters = [*"redmugblox"]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "vocab_size": len(words)}
    return transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")), ends


def saved(folder: Path, model, processor) -> str:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def dino(tmp_path_factory) -> str:
    folder, made = tmp_path_factory.mktemp("dino"), tmp_path_factory.mktemp("tokens")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "red", "mug", "blue", "box"]
    (made / "vocab.txt").write_text("\n".join(words))
    backbone = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2, out_indices=[2, 3, 4]
    )
    text = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=32, **TEXT)
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=10,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_text_len=32,
    )
    images = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 128})
    processor = transformers.GroundingDinoProcessor(images, transformers.BertTokenizer(str(made / "vocab.txt")))
    torch.manual_seed(0)
    return saved(folder, transformers.GroundingDinoForObjectDetection(config), processor)


@pytest.fixture(scope="module")
def owl(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("owl")
    tokenizer, ends = clip_tokenizer(tmp_path_factory.mktemp("tokens"))
    config = transformers.Owlv2Config(
        text_config={**TEXT, **ends, "max_position_embeddings": 16},
        vision_config={**TEXT, "image_size": 96, "patch_size": 16},
        projection_dim=16,
    )
    images = transformers.Owlv2ImageProcessor(size={"height": 96, "width": 96})
    torch.manual_seed(0)
    return saved(folder, transformers.Owlv2ForObjectDetection(config), transformers.Owlv2Processor(images, tokenizer))


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("clipseg")
    tokenizer, ends = clip_tokenizer(tmp_path_factory.mktemp("tokens"))
    config = transformers.CLIPSegConfig(
        text_config={**TEXT, **ends, "max_position_embeddings": 20},
        vision_config={**TEXT, "image_size": 64, "patch_size": 16},
        projection_dim=16,
        extract_layers=[0],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    images = transformers.ViTImageProcessor(size={"height": 160, "width": 160})
    torch.manual_seed(0)
    model = transformers.CLIPSegForImageSegmentation(config)
    return saved(folder, model, transformers.CLIPSegProcessor(images, tokenizer))


@pytest.fixture(scope="module")
def sam(tmp_path_factory) -> str:
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "mlp_dim": 16,
            "image_size": 64,
            "patch_size": 16,
            "num_pos_feats": 8,
            "window_size": 2,
            "global_attn_indexes": [0],
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 16,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    images = transformers.SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    torch.manual_seed(0)
    model = transformers.SamModel(config)
    return saved(tmp_path_factory.mktemp("sam"), model, transformers.SamProcessor(images))


def bright_box(image: torch.Tensor) -> torch.Tensor:
    """Where the bright part of the model's input (3,h,w) is: middle and size as parts of the input, (4,)."""
    rows, columns = (image.mean(0) > LEARNT).nonzero().T
    low = torch.stack([columns.min(), rows.min()])
    high = torch.stack([columns.max(), rows.max()]) + 1
    size = torch.tensor([image.shape[2], image.shape[1]])
    return torch.cat([(low + high) / 2 / size, (high - low) / size])


def detecting(model, score_of) -> list[int]:
    """Lets `model` find the bright part of what it sees, with the score of each of its texts; counts its phrases."""
    truly, asked = model.forward, []

    def forward(**inputs):
        output = truly(**inputs)
        scores = torch.tensor([score_of(ids) for ids in inputs["input_ids"].tolist()])
        asked.append(len(scores))
        output.pred_boxes = torch.full_like(output.pred_boxes, 0.5)  # all queries but one have no score
        output.pred_boxes[:, 3] = torch.stack([bright_box(image) for image in inputs["pixel_values"]])
        output.logits = torch.full_like(output.logits, -torch.inf)
        if len(output.logits) == len(scores) and output.logits.shape[-1] != len(scores):  # a row a phrase: DINO
            output.logits[:, 3, 1] = torch.logit(scores)
        else:  # a column a phrase: OWLv2
            output.logits[0, 3] = torch.logit(scores)
        return output

    model.forward = forward
    return asked


def near_edges(image: np.ndarray, truth: np.ndarray, pixels: int) -> bool:
    """Whether they differ only within so many pixels of an edge of the truth."""
    size = 2 * pixels + 1
    low, high = minimum_filter(truth, size), maximum_filter(truth, size)
    return bool(((image >= low - 1e-4) & (image <= high + 1e-4)).all())


def test_boxes_of_grounding_dino_mark_the_points_within(dino):
    detector = GroundingDino(dino, "cpu")
    asked = detecting(detector.model, lambda ids: 0.9 if 6 in ids else 0.1)  # "red" is word 6
    said = Boxes(detector, batch=2)(OneView(RED), every_pixel())
    scores = said.similarity(["Red mug", "box", "red. box.", "box"])
    assert scores.shape == (HEIGHT * WIDTH, 4)
    assert near_edges(as_image(scores[:, 0]), expected(RED, 0.9), 1)
    assert (scores[:, 2] == scores[:, 0]).all() and not scores[:, 1].any() and not scores[:, 3].any()
    said.similarity(["box", "red. box."])
    assert asked == [2, 1]  # each phrase once


def test_boxes_of_owlv2_are_of_the_padded_square(owl):
    detector = Owlv2(owl, "cpu")
    asked = detecting(detector.model, lambda ids: 0.6 if 2 in ids else 0.2)  # "r" is letter 2
    said = Boxes(detector, threshold=0.1)(OneView(BLUE), every_pixel())
    scores = said.similarity(["red", "mug " * 30])
    assert near_edges(as_image(scores[:, 0]), expected(BLUE, 0.6), 1)
    assert near_edges(as_image(scores[:, 1]), expected(BLUE, 0.2), 1)
    assert asked == [2]


def test_clipseg_scores_lie_where_they_were_seen(clipseg):
    method = ClipSeg(clipseg, "cpu", batch=2)
    truly = method.model.forward

    def forward(**inputs):
        output = truly(**inputs)
        maps = torch.where(inputs["pixel_values"].mean(1) > 0.5, 8.0, -8.0)
        assert output.logits.reshape(len(maps), *output.logits.shape[-2:]).shape[0] == len(inputs["input_ids"])
        output.logits = maps if len(maps) > 1 else maps[0]
        return output

    method.model.forward = forward
    scores = method(OneView(RED), every_pixel()).similarity(["red", "mug", "box"])
    assert scores.shape == (HEIGHT * WIDTH, 3)
    for column in scores.T:
        assert near_edges(as_image(column).round(2), expected(RED), 1)


def segmenting(model) -> None:
    """Lets SAM find the bright things that its boxes or points lie on."""
    truly, embed = model.forward, model.get_image_embeddings
    bright = []

    def get_image_embeddings(pixel_values, **options):
        bright[:] = [pixel_values[0].mean(0) > LEARNT]
        return embed(pixel_values, **options)

    def forward(**inputs):
        output = truly(**inputs)
        things, count = label(bright[0].numpy())
        low = output.pred_masks.shape[-2:]
        step = bright[0].shape[0] // low[0]
        for i in range(output.pred_masks.shape[1]):
            output.pred_masks[0, i], output.iou_scores[0, i] = -8.0, 0.1
            for k in range(1, count + 1):
                thing = torch.from_numpy(things == k)
                if (boxes := inputs.get("input_boxes")) is not None:
                    x0, y0, x1, y1 = boxes[0, i].round().long().tolist()
                    hit = thing[y0:y1, x0:x1].float().mean() > 0.7
                else:
                    x, y = inputs["input_points"][0, i, 0].long().tolist()
                    hit = thing[min(y, 63), min(x, 63)]
                if hit:
                    coarse = thing[step // 2 :: step, step // 2 :: step].float()
                    output.pred_masks[0, i], output.iou_scores[0, i] = coarse * 16 - 8, 0.9 + 0.02 * k
        return output

    model.forward, model.get_image_embeddings = forward, get_image_embeddings


class KnownBoxes:
    """A detector that knows where two objects are, and finds a box of nothing besides."""

    def detect(self, image, phrases):
        boxes = torch.tensor([[20.0, 10, 50, 30], [21.0, 10, 50, 30], [55.0, 35, 75, 45], [0.0, 0, 9, 9]])
        of = {"red": [0.8, 0.7, 0.0, 0.0], "all": [0.8, 0.7, 0.5, 0.3], "none": [0.0] * 4}
        return [Detections(boxes, torch.tensor(of[phrase])) for phrase in phrases]


def test_sam_gets_the_boxes_where_it_sees_them(sam):
    model = Sam(sam, "cpu", boxes=2)
    segmenting(model.model)
    said = Boxes(KnownBoxes(), model)(OneView(RED, BLUE), every_pixel())
    red, none, both = said.similarity(["red", "none", "all"]).T
    assert near_edges(as_image(red), expected(RED, 0.8), 3)
    assert as_image(red)[14:26, 24:46].min() > 0.79  # a mask cell is five pixels wide
    assert not none.any()
    assert near_edges(as_image(both), expected(RED, 0.8) + expected(BLUE, 0.5), 3)


def test_everything_that_sam_finds(sam):
    model = Sam(sam, "cpu")
    segmenting(model.model)
    method = EverySam(model, points=16, batch=50, stability=0.5)
    proposals = method(OneView(RED, BLUE), every_pixel())
    assert proposals.masks.shape == (2, HEIGHT * WIDTH)
    labels, confidence = method.instances(OneView(RED, BLUE), every_pixel())
    assert near_edges(as_image(labels >= 0).astype(float), expected(RED) + expected(BLUE), 3)
    assert len(np.unique(as_image(labels)[14:26, 24:46])) == 1 != as_image(labels)[40, 65]
    np.testing.assert_allclose(as_image(confidence)[[20, 40, 0], [30, 65, 0]], [0.92, 0.94, 0], atol=1e-6)
    assert not len(method(OneView(), every_pixel()).scores)  # nothing is bright


def test_the_surest_mask_owns_a_point():
    masks = np.array([[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]], bool)
    labels, confidence = Proposals(masks, np.array([0.5, 0.9, 0.3, 0.7], np.float32)).disjoint()
    assert labels.tolist() == [0, 1, 0, -1]
    np.testing.assert_allclose(confidence, [0.5, 0.9, 0.5, 0])


def test_a_cloud_of_several_views_is_refused():
    zeros = np.zeros((1, 3), np.float32)
    with pytest.raises(ValueError, match="one view; the cloud is of 2"):
        Boxes(KnownBoxes())(OneView(), Cloud(zeros, zeros, np.array([2]), (0, 1)))


def test_absent_weights_are_said_at_once(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def model_info(self, name, timeout):
        asked.append((name, timeout))
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsAbsent, match=r"some/model is in no local folder .*no route to host.*hf download some"):
        load_pretrained("SamModel", "some/model")
    assert asked == [("some/model", 5.0)]
    with pytest.raises(WeightsAbsent, match=f"expected in {tmp_path}"):
        load_pretrained("SamModel", str(tmp_path))
    assert len(asked) == 1  # a folder is no name on the hub


@pytest.mark.parametrize("harm", ["cut", "lacking", "foreign", "pickled"])
def test_damaged_weights_are_no_weights(harm, sam, tmp_path):
    model, processor = load_pretrained("SamModel", sam, "cpu")
    saved(tmp_path, model, processor)
    weights = tmp_path / "model.safetensors"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif harm == "lacking":
        tensors = load_file(weights)
        tensors.pop("mask_decoder.iou_token.weight")
        save_file(tensors, weights, {"format": "pt"})
    elif harm == "foreign":
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    else:
        torch.save(load_file(weights), tmp_path / "pytorch_model.bin")
        weights.unlink()
    with pytest.raises(WeightsAbsent, match=f"{tmp_path}") as raised:
        load_pretrained("SamModel", str(tmp_path), "cpu")
    assert "\n" not in str(raised.value)


@pytest.fixture
def example(tmp_path) -> Path:
    list(write_example(tmp_path))
    return tmp_path


class Exported(OneView):
    """The scene of the example."""

    name, source = "scene_00000", SimpleNamespace(path=Path("/any/unseen_instance"))


def cloud_of(points, pixels=None, v=5) -> Cloud:
    points = np.asarray(points, np.float32)
    return Cloud(points, np.zeros_like(points), np.full(len(points), 2), (v,), pixels)


def test_exported_maps_are_taken_at_the_pixels_of_points(example):
    pixels = np.array([0, WIDTH - 1, WIDTH * HEIGHT - 1, 20 * WIDTH + 30])
    corners = np.zeros((3, HEIGHT, WIDTH), np.float32)
    corners[0, 0, 0], corners[1, 0, -1], corners[2, -1, -1] = 1, 2, 3
    path = example / "openseg/unseen_instance/scene_00000/view_05.safetensors"
    save_file({"scores": torch.from_numpy(corners).half()}, path, {"phrases": '["a", "b", "c"]'})
    said = ExportedMaps(example / "openseg")(Exported(), cloud_of(np.zeros((4, 3)), pixels))
    np.testing.assert_allclose(said.similarity(["c", "a"]), [[0, 1], [0, 0], [3, 0], [0, 0]], atol=1e-4)
    with pytest.raises(WeightsAbsent, match=r"has 3 phrases, but 2 of those asked .* 'dog'"):
        said.similarity(["a", "dog", "house"])


def test_exported_features_are_compared_with_the_texts_exported_with_them(example):
    said = ExportedMaps(example / "lseg")(Exported(), cloud_of(np.zeros((2, 3)), np.array([5, 900])))
    view = load_file(example / "lseg/unseen_instance/scene_00000/view_05.safetensors")["features"].float()
    text = load_file(example / "lseg/text.safetensors")["features"]
    large = torch.nn.functional.interpolate(view[None], (HEIGHT, WIDTH), mode="bicubic")[0].flatten(1)[:, [5, 900]]
    wanted = torch.nn.functional.cosine_similarity(large.T[:, None], text[None], dim=2)
    np.testing.assert_allclose(said.similarity(["mug", "red mug"]), wanted[:, :2], atol=1e-5)


def test_exported_instances_go_to_points_within_a_centimetre(example):
    path = example / "mask3d/unseen_instance/scene_00000/instances.safetensors"
    points = torch.tensor([[0, 0, 0], [0.1, 0, 0], [0.2, 0, 0]])
    masks = torch.tensor([[1, 1, 0], [0, 1, 1]], dtype=torch.uint8)
    save_file({"points": points, "masks": masks, "scores": torch.tensor([0.5, 0.8])}, path)
    method, cloud = ExportedInstances(example / "mask3d"), cloud_of([[0.2, 0.009, 0], [0.1, 0, 0.02], [0, 0, 0.001]])
    assert method(Exported(), cloud).masks.tolist() == [[False, False, True], [True, False, False]]
    labels, confidence = method.instances(Exported(), cloud)
    assert labels.tolist() == [1, -1, 0]
    np.testing.assert_allclose(confidence, [0.8, 0, 0.5])


@pytest.mark.parametrize(
    ("tensors", "metadata", "said"),
    [
        ({"score": torch.zeros(1, 2, 2)}, None, r"has no scores \(it has score\); expected shape \(0, any, any\)"),
        (
            {"scores": torch.zeros(2, 2, 2)},
            {"phrases": '["a"]'},
            r"scores of the shape \(2, 2, 2\); expected shape \(1,",
        ),
        ({"scores": torch.full((1, 2, 2), torch.nan)}, {"phrases": '["a"]'}, "scores that are not all finite"),
        ({"scores": torch.zeros(1, 2, 2)}, {"phrases": "[1]"}, "a JSON list of texts"),
        ({"scores": torch.zeros(1, 2, 2)}, {"phrases": "a"}, "no whole safetensors file"),
        ({"features": torch.zeros(7, 2, 2)}, None, r"text.safetensors is not there; export it"),
        (None, None, r"view_05.safetensors is not there; export it"),
    ],
)
def test_foreign_exports_are_refused_in_one_line(tmp_path, tensors, metadata, said):
    path = tmp_path / "unseen_instance/scene_00000/view_05.safetensors"
    if tensors:
        path.parent.mkdir(parents=True)
        save_file(tensors, path, metadata)
    with pytest.raises(WeightsAbsent, match=said) as raised:
        ExportedMaps(tmp_path)(Exported(), cloud_of(np.zeros((1, 3)), np.zeros(1, np.int64)))
    assert "\n" not in str(raised.value)


def test_requests_are_what_a_system_needs(tmp_path):
    import open3d as o3d

    scene, requests = Exported(RED), Requests(tmp_path)
    said = requests(scene, cloud_of(np.zeros((2, 3)), np.array([5, 900])))
    assert not said.similarity(["a mug", "größer"]).any()
    requests(scene, cloud_of([[0, 0, 1], [0, 2, 0], [3, 0, 0]])).similarity(["a mug", "box"])
    assert json.loads((tmp_path / "phrases.json").read_text()) == ["a mug", "größer", "box"]
    place = tmp_path / "unseen_instance/scene_00000"
    np.testing.assert_array_equal(Image.open(place / "view_05.png"), scene.view(5).rgb)
    np.testing.assert_allclose(
        o3d.io.read_point_cloud(str(place / "cloud.ply")).points, [[0, 0, 1], [0, 2, 0], [3, 0, 0]]
    )


def requested(folder: Path) -> Path:
    """What is asked for of the example's scene: a view, its cloud, and phrases."""
    scene, requests = Exported(RED), Requests(folder)
    requests(scene, cloud_of(np.zeros((2, 3)), np.array([5, 900]))).similarity(["mug", "red mug"])
    requests(scene, cloud_of([[0, 0, 1], [0, 2, 0], [3, 0, 0]])).similarity(["mug"])
    return folder


def test_an_export_is_checked_against_the_layout_and_what_was_asked(example, tmp_path):
    requests = requested(tmp_path / "requests")
    for system in ("lseg", "openseg", "mask3d"):
        assert problems_of(example / system, requests) == []
    view = example / "openseg/unseen_instance/scene_00000/view_05.safetensors"
    save_file({"scores": torch.zeros(1, 2, 2)}, view, {"phrases": '["mug"]'})
    assert "lacks 1 of the phrases, as 'red mug'" in problems_of(example / "openseg", requests)[0]
    save_file({"scores": torch.zeros(2, 2, 2)}, view, {"phrases": '["mug"]'})
    (example / "openseg/notes.txt").write_text("?")
    found = problems_of(example / "openseg")
    assert len(found) == 2 and "no place in the layout" in found[0] and "scores of the shape" in found[1]
    (example / "mask3d/unseen_instance/scene_00000/instances.safetensors").rename(
        example / "mask3d/instances.safetensors"
    )
    assert "was asked for" in problems_of(example / "mask3d", requests)[0]
    assert "holds no file" in problems_of(tmp_path / "nowhere")[0]


def test_mask3d_s_own_files_become_instances(tmp_path):
    """Made up in the form of ScanNet's benchmark, by the script that is to be run on the real ones."""
    requests, said = requested(tmp_path / "requests"), tmp_path / "said"
    (said / "pred_mask").mkdir(parents=True)
    for k, mask in enumerate(("1\n0\n0\n", "0\n1\n1\n")):
        (said / f"pred_mask/unseen_instance_scene_00000_{k}.txt").write_text(mask)
    lines = [f"pred_mask/unseen_instance_scene_00000_{k}.txt 5 {0.9 - 0.2 * k}\n" for k in range(2)]
    (said / "unseen_instance_scene_00000.txt").write_text("".join(lines))
    command = [sys.executable, str(SCRIPTS / "mask3d.py"), str(requests), str(said), str(tmp_path / "out")]
    assert "2 masks" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert problems_of(tmp_path / "out", requests) == []
    method, cloud = ExportedInstances(tmp_path / "out"), cloud_of([[0, 0, 1], [0, 2, 0], [3, 0, 0]])
    assert method(Exported(RED), cloud).masks.tolist() == [[True, False, False], [False, True, True]]
    (said / "pred_mask/unseen_instance_scene_00000_0.txt").write_text("1\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode and "has 1 lines" in done.stderr


def test_scripts_that_were_never_run_say_so():
    for script in ("openseg", "lseg", "mask3d"):
        text = (SCRIPTS / f"{script}.py").read_text()
        assert "NEVER RUN" in text and ast.parse(text)
