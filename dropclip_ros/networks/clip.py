# SPDX-License-Identifier: Apache-2.0
"""Any model of open_clip, image and text tower together: from a name and a tag, a hub's repository, a folder or a file.

What is told apart here is what goes wrong in silence elsewhere: OpenAI's weights compute with QuickGELU, and under a
name without it they load with one warning, from a file with none. Shapes do not tell.
"""

from __future__ import annotations

import os
import socket
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dropclip_ros.base.errors import DropclipError, Status
from dropclip_ros.base.files import check_sha256, sha256_of
from dropclip_ros.base.reading import names_in_zip, read_json, readable

if TYPE_CHECKING:
    from open_clip import CLIP

FOLDER_CONFIG = "open_clip_config.json"
HUB = ("huggingface.co", 443)
PATIENCE = 4.0  # s, until a host counts as not reachable
ACTIVATIONS = ("quickgelu", "gelu")


@dataclass(frozen=True)
class ClipSource:
    """Which model of open_clip, as in `TextConfig`: model, a name, "hf-hub:<repository>" or a folder; pretrained, a tag
    or a checkpoint, for a name alone; sha256 of the weights where they are a local file."""

    model: str
    pretrained: str | None = None
    sha256: str | None = None

    @property
    def folder(self) -> Path | None:
        """The local folder that holds the model, if one does."""
        folder = Path(self.model.removeprefix("local-dir:"))
        return folder if (folder / FOLDER_CONFIG).is_file() else None

    @property
    def name(self) -> str:
        """As open_clip spells it."""
        return f"local-dir:{self.folder}" if self.folder else self.model

    @property
    def weights(self) -> Path | None:
        """The local file of the weights; None where open_clip fetches them."""
        if self.folder:
            from open_clip.factory import _find_checkpoint_in_dir

            found = _find_checkpoint_in_dir(self.folder)
            return Path(found) if found else None
        file = Path(self.pretrained or "")
        return file if file.is_file() else None

    @property
    def settled(self) -> ClipSource:
        """The same, to be found from any working directory and checked: absolute paths, and the digest of a file."""
        weights = self.weights
        model = str(self.folder.resolve()) if self.folder else self.model
        pretrained = str(weights.resolve()) if weights and not self.folder else self.pretrained
        return ClipSource(model, pretrained, self.sha256 or (sha256_of(weights) if weights else None))


@dataclass(frozen=True, eq=False)
class Clip:
    """A loaded model of open_clip: both towers, eval mode, and what turns texts into tokens."""

    model: CLIP
    tokenizer: Callable[[list[str]], torch.Tensor]


def load_clip(source: ClipSource) -> Clip:
    """Both towers of a model, on the CPU.

    MODEL_ERROR where it is not known, not to be had (without a network within ten seconds), of another digest, or
    computes with another activation than its weights were trained with.
    """
    import open_clip

    check_known(source)
    try:
        if source.weights:
            readable(source.weights)
        if source.sha256 and source.weights:
            check_sha256(source.weights, source.sha256)
        _check_activation(source)
        with _no_waiting(source):
            model = open_clip.create_model(source.name, source.pretrained, require_pretrained=True)
            return Clip(model.eval().requires_grad_(False), open_clip.get_tokenizer(source.name))
    except DropclipError:
        raise
    except Exception as error:  # the library raises many kinds; to the caller they mean one thing
        raise _bad(source, " ".join(str(error).split())[:300]) from error


def _bad(source: ClipSource, reason: str) -> DropclipError:
    return DropclipError(
        Status.MODEL_ERROR, f"cannot load the model {source.model!r} (pretrained {source.pretrained!r}): {reason}"
    )


def check_known(source: ClipSource) -> None:
    """MODEL_ERROR where there is no such model, or no such weights of it; needs no network."""
    import open_clip

    if source.folder or ":" in source.model:
        return
    if open_clip.get_model_config(source.model) is None:
        raise _bad(source, "open_clip knows no model of that name, and no folder of that name holds one")
    tags = open_clip.list_pretrained_tags_by_model(source.model)
    if source.weights is None and source.pretrained not in tags:
        raise _bad(source, f"it has no such tag, and there is no such file; its tags are {', '.join(tags) or 'none'}")


def config_of(source: ClipSource) -> dict | None:
    """The architecture, as open_clip has it; None where only the hub knows."""
    import open_clip

    if source.folder:
        return _read_config(source.folder / FOLDER_CONFIG).get("model_cfg", {})
    return open_clip.get_model_config(source.model) if ":" not in source.model else None


def _read_config(path: Path) -> dict:
    try:
        found = read_json(path)
    except OSError as error:
        raise DropclipError(Status.MODEL_ERROR, f"cannot read {path}: {error.strerror}; fetch it again") from error
    if not isinstance(found, dict):
        raise DropclipError(Status.MODEL_ERROR, f"{path} is no configuration of a model; fetch it again")
    return found


def width_of(source: ClipSource) -> int | None:
    """Channels of the space that both towers end in; None where only the hub knows."""
    return (config_of(source) or {}).get("embed_dim")


def activation_of(source: ClipSource) -> str | None:
    """What a model computes with, "quickgelu" or "gelu"; None where that is no question: the image tower is timm's."""
    config = config_of(source)
    if config is None or "timm_model_name" in config.get("vision_cfg", {}):
        return None
    return ACTIVATIONS[0] if config.get("quick_gelu", False) else ACTIVATIONS[1]


def trained_activation(source: ClipSource) -> str | None:
    """What the weights were trained with, where their tag, their digest or their format says so."""
    tags = _tags()
    if source.weights is None:
        return tags.get((source.model.replace("/", "-"), source.pretrained or ""))
    digest = source.sha256 or sha256_of(source.weights)
    known = {activation for key, activation in tags.items() if isinstance(key, str) and digest.startswith(key)}
    if len(known) == 1:
        return known.pop()
    return ACTIVATIONS[0] if _is_openai_archive(source.weights) else None


def _tags() -> dict[tuple[str, str] | str, str]:
    """The activation of each (model, tag) of open_clip's own list, and of each digest that its URLs have."""
    from open_clip.pretrained import _PRETRAINED

    found: dict[tuple[str, str] | str, str] = {}
    for model, tags in _PRETRAINED.items():
        for tag, about in tags.items():
            activation = ACTIVATIONS[0] if about.get("quick_gelu") else ACTIVATIONS[1]
            found[model, tag] = activation
            parts = about.get("url", "").split("/")
            beginning = parts[-1].rpartition(".")[0].rpartition("-")[2]
            for digest in (parts[-2] if len(parts) > 1 else "", beginning):
                if len(digest) in (8, 64) and set(digest) <= set("0123456789abcdef"):
                    found[digest] = activation
    return found


def _is_openai_archive(path: Path) -> bool:
    """Whether a checkpoint is a TorchScript archive, as OpenAI's are and others' are not."""
    return any("/code/" in name for name in names_in_zip(path))


def _check_activation(source: ClipSource) -> None:
    computes, trained = activation_of(source), trained_activation(source)
    if computes is None or trained is None or computes == trained:
        return
    twin = source.model.removesuffix("-quickgelu") + ("-quickgelu" if trained == ACTIVATIONS[0] else "")
    raise _bad(
        source,
        f"these weights were trained with {trained}, and this model computes with {computes}, which gives wrong "
        f"features without an error; name {twin}"
        + (f', or set "quick_gelu" in {FOLDER_CONFIG}' if source.folder else ""),
    )


def check_said_activation(source: ClipSource, said: str | None) -> None:
    """MODEL_ERROR where nothing says what the weights were trained with and neither does the caller, or it is wrong."""
    check_known(source)
    computes = activation_of(source)
    if computes is None or (source.weights is None and trained_activation(source) is not None):
        return
    folder_says = source.folder is not None and "quick_gelu" in (config_of(source) or {})
    said = said or trained_activation(source) or (computes if folder_says else None)
    if said is None:
        raise DropclipError(
            Status.MODEL_ERROR,
            f"{source.weights or source.model} does not say which activation it was trained with, and shapes do not "
            "tell: give --activation quickgelu (OpenAI's, and names that end in -quickgelu) or --activation gelu",
        )
    if said != computes:
        raise _bad(source, f"--activation {said}, but this model computes with {computes}; name the other variant")


def reachable(host: str, port: int) -> bool:
    """Whether a host, or the proxy before it, takes a connection within `PATIENCE`; name servers may hang as well."""
    proxy = urllib.parse.urlparse(os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or "")
    if proxy.hostname:
        host, port = proxy.hostname, proxy.port or 3128
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(socket.create_connection, (host, port), PATIENCE).result(PATIENCE + 1).close()
        return True
    except (OSError, Late):
        return False
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _no_waiting(source: ClipSource) -> Iterator[None]:
    """Without a network the hub's cache is asked alone: at once, instead of after minutes of retries."""
    from huggingface_hub import constants

    config = config_of(source) or {}
    alone = source.folder or (source.weights and "hf_tokenizer_name" not in config.get("text_cfg", {}))
    if alone or constants.HF_HUB_OFFLINE or reachable(*HUB):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except Exception as error:
        raise _bad(
            source, f"{HUB[0]} cannot be reached and its cache does not have it; give a network, or a local folder"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = False
