# SPDX-License-Identifier: Apache-2.0
"""Networks that are written out here, so that a node need not import whole libraries, give what the libraries give."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from dropclip_ros.base.errors import DropclipError
from dropclip_ros.networks import text
from dropclip_ros.networks.backbone import MEAN, SCALE, Backbone, backbone_file

HEAVY = ("open3d", "open_clip", "timm", "torch._dynamo", "torchvision", "transformers")
TEXTS = ("the red mug", "a  Thing\twith “quotes” — and café &amp; more", "日本", "word " * 50)


def test_the_sentence_encoder_is_that_of_the_library():
    try:
        folder = text._minilm_folder()
    except DropclipError as error:
        pytest.skip(error.message)
    towers = [load(folder, torch.device("cpu")) for load in (text._sentence_tower, text._other_sentence_tower)]
    with torch.no_grad():
        ours, theirs = (tower(list(TEXTS)) for tower in towers)
        assert torch.allclose(ours, theirs, atol=1e-5)
        assert torch.allclose(towers[0](list(TEXTS[:1])), ours[:1], atol=1e-5)  # what it is padded with has no say


@pytest.mark.parametrize("size", (260, 161))  # of the one the padding is even, of the other not
def test_the_classifier_of_pictures_is_that_of_the_library(size):
    from timm.models.efficientnet import tf_efficientnet_lite2

    try:
        tensors = torch.load(backbone_file(), weights_only=True)
    except DropclipError as error:
        pytest.skip(error.message)
    theirs = tf_efficientnet_lite2()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), tensors.values(), strict=True)))
    crops = np.random.default_rng(0).integers(0, 255, (2, size, size, 3), dtype=np.uint8)
    pixels = (torch.as_tensor(crops).permute(0, 3, 1, 2).float() - MEAN) / SCALE
    with torch.no_grad():
        features = theirs.eval().forward_features(pixels)
        expected = theirs.forward_head(features, pre_logits=True)
    ours = Backbone().features(crops)
    assert torch.allclose(ours, expected, atol=1e-4)
    assert torch.allclose(Backbone().logits(ours), theirs.classifier(expected), atol=1e-3)


def test_a_model_loads_without_what_it_does_not_need():
    ask = (
        "import sys, numpy as np; from dropclip_ros.grounding.pipeline import Grounder\n"
        "from dropclip_ros.grasping import matching; from dropclip_ros.base.errors import DropclipError\n"
        "try: Grounder.from_pretrained(labels=False)\n"
        "except DropclipError as error: sys.exit(f'no model: {error}')\n"
        "matching.target_centre(np.random.default_rng(0).random((99, 3)))\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=300)
    if "no model" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout.strip() == "[]", done.stderr
