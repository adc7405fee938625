# SPDX-License-Identifier: Apache-2.0
"""LSeg's features of the requested images, as `training.evaluate.methods.exported` reads them.

NEVER RUN: neither LSeg's checkpoint nor CLIP's weights were at hand. Runs in an environment of lang-seg (github.com/
isl-org/lang-seg, whose modules are imported below; `parallel_forward` must give features, not labels, as in OpenScene's
fork of it), beside open_clip_torch and safetensors. LSeg's text tower is CLIP's ViT-B/32.

    dropclip-eval requests --to requests
    PYTHONPATH=LANG_SEG python scripts/export/lseg.py requests exported/lseg --checkpoint demo_e200.ckpt
    python -m training.evaluate.methods.exported check exported/lseg --requests requests
"""

import argparse
import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from additional_utils.models import LSeg_MultiEvalModule
from modules.lseg_module import LSegModule
from PIL import Image
from safetensors.numpy import save_file

SETTINGS = {  # of the published checkpoint
    "data_path": "",
    "dataset": "ade20k",
    "backbone": "clip_vitl16_384",
    "aux": False,
    "num_features": 256,
    "aux_weight": 0,
    "se_loss": False,
    "se_weight": 0,
    "base_lr": 0,
    "batch_size": 1,
    "max_epochs": 0,
    "ignore_index": 255,
    "dropout": 0.0,
    "scale_inv": False,
    "augment": False,
    "no_batchnorm": False,
    "widehead": True,
    "widehead_hr": False,
    "map_locatin": "cpu",
    "arch_option": 0,
    "block_depth": 0,
    "activation": "lrelu",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("requests", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    args = parser.parse_args()
    network = LSegModule.load_from_checkpoint(checkpoint_path=str(args.checkpoint), **SETTINGS).net.eval()
    network.mean, network.std = [0.5] * 3, [0.5] * 3
    images = sorted(args.requests.rglob("view_*.png"))
    network.crop_size = network.base_size = max(Image.open(images[0]).size)
    evaluator = LSeg_MultiEvalModule(network, scales=[1], flip=True).cuda().eval()
    for path in images:
        rgb = np.asarray(Image.open(path).convert("RGB"), np.float32) / 255
        image = torch.from_numpy((rgb - 0.5) / 0.5).permute(2, 0, 1)[None]
        with torch.no_grad():
            features = evaluator.parallel_forward(image, "")[0][0]
        save(args.out / path.relative_to(args.requests).with_suffix(".safetensors"), features.float().cpu().numpy())
    phrases = json.loads((args.requests / "phrases.json").read_text())
    clip = open_clip.create_model("ViT-B-32-quickgelu", "openai").eval()
    tokenizer = open_clip.get_tokenizer("ViT-B-32-quickgelu")
    with torch.no_grad():
        rows = torch.cat([clip.encode_text(tokenizer(phrases[a : a + 256])) for a in range(0, len(phrases), 256)])
    save(args.out / "text.safetensors", rows.numpy(), {"phrases": json.dumps(phrases)})


def save(path: Path, features: np.ndarray, metadata: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"features": np.ascontiguousarray(features, np.float16)}, path, metadata)


if __name__ == "__main__":
    main()
