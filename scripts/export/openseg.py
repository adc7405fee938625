# SPDX-License-Identifier: Apache-2.0
"""OpenSeg's features of the requested images, as `training.evaluate.methods.exported` reads them.

NEVER RUN: neither TensorFlow's export of OpenSeg nor CLIP's weights were at hand. Needs tensorflow, open_clip_torch and
safetensors, and the SavedModel that OpenScene's authors publish (its features are in the space of ViT-L/14@336px).

    dropclip-eval requests --to requests
    python scripts/export/openseg.py requests exported/openseg --model FOLDER_OF_THE_SAVED_MODEL
    python -m training.evaluate.methods.exported check exported/openseg --requests requests
"""

import argparse
import json
from pathlib import Path

import numpy as np
import open_clip
import tensorflow as tf
import torch
from safetensors.numpy import save_file

CHANNELS = 768


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("requests", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    args = parser.parse_args()
    answers = tf.saved_model.load(str(args.model)).signatures["serving_default"]
    for image in sorted(args.requests.rglob("view_*.png")):
        found = answers(
            inp_image_bytes=tf.convert_to_tensor(image.read_bytes()), inp_text_emb=tf.zeros((1, 1, CHANNELS))
        )
        info = found["image_info"].numpy()  # the input is padded: (height, width) and their scales say what is picture
        height, width = (int(info[0, k] * info[2, k]) for k in range(2))
        features = found["ppixel_ave_feat"][0, :height, :width].numpy()
        save(args.out / image.relative_to(args.requests).with_suffix(".safetensors"), features.transpose(2, 0, 1))
    phrases = json.loads((args.requests / "phrases.json").read_text())
    clip = open_clip.create_model("ViT-L-14-336-quickgelu", "openai").eval()
    tokenizer = open_clip.get_tokenizer("ViT-L-14-336-quickgelu")
    with torch.no_grad():
        rows = torch.cat([clip.encode_text(tokenizer(phrases[a : a + 256])) for a in range(0, len(phrases), 256)])
    save(args.out / "text.safetensors", rows.numpy(), {"phrases": json.dumps(phrases)})


def save(path: Path, features: np.ndarray, metadata: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"features": np.ascontiguousarray(features, np.float16)}, path, metadata)


if __name__ == "__main__":
    main()
