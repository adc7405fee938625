# SPDX-License-Identifier: Apache-2.0
"""Models of `transformers` by hub name or local folder, or one clear word that their weights are not here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from training.evaluate.protocol import WeightsAbsent

HUB_TIMEOUT = 5.0  # s; of one question whether the hub is there, before anything retries for minutes


@dataclass
class Pretrained:
    """A model that is loaded when it is first asked, and raises WeightsAbsent then; see `load_pretrained`."""

    model_class: ClassVar[str]

    name: str
    device: torch.device | str | None = None

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return load_pretrained(self.model_class, self.name, self.device)

    @property
    def processor(self) -> Any:
        return self._loaded[0]

    @property
    def model(self) -> Any:
        return self._loaded[1]


def load_pretrained(model_class: str, name: str, device: torch.device | str | None = None) -> tuple[Any, Any]:
    """Processor and model, in evaluation mode and fp32, on `device` (a GPU where there is one by default).

    model_class: a class of `transformers`, as "SamModel"; name: a local folder as `save_pretrained` writes it (a
    download of the hub's), or a name on the hub, which is asked only where its cache lacks the model. Only safetensors
    are read, and no code that comes with a model runs. Raises WeightsAbsent where the model is not to be had, is
    damaged, or lacks some of its weights: a method with random weights would be a fake.
    """
    try:
        return _load(model_class, name, device, local_files_only=True)
    except OSError as error:  # not there, or not all of it
        if Path(name).is_dir():
            raise WeightsAbsent(f"{_short(error)}; expected in {name} what the hub has of the model") from error
    _ask_hub(name)
    try:
        return _load(model_class, name, device, local_files_only=False)
    except OSError as error:
        raise _absent(name, error) from error


def _load(model_class: str, name: str, device: torch.device | str | None, **options: Any) -> tuple[Any, Any]:
    import transformers  # takes seconds
    from safetensors import SafetensorError

    try:
        model, found = getattr(transformers, model_class).from_pretrained(
            name, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
        )
        processor = transformers.AutoProcessor.from_pretrained(name, **options)
    except (ValueError, TypeError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise WeightsAbsent(
            f"{name} holds no {model_class} that can be read ({_short(error)}); get it again"
        ) from error
    lacking = sorted(map(str, (*found["missing_keys"], *found["mismatched_keys"])))
    if lacking:
        raise WeightsAbsent(f"{name} lacks {len(lacking)} tensors of a {model_class}, as {lacking[0]}; get it again")
    return processor, model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()


def _ask_hub(name: str) -> None:
    """Raises WeightsAbsent where the hub does not answer soon, or has no such model."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT)
    except HFValidationError as error:
        raise WeightsAbsent(f"{name} is neither a folder nor a name on the hub; give one of them") from error
    except Exception as error:  # its HTTP client changes with its version: offline, no network, no such model, gated
        raise _absent(name, error) from error


def _absent(name: str, error: Exception) -> WeightsAbsent:
    return WeightsAbsent(
        f"{name} is in no local folder of that name nor in the hub's cache, and the hub does not give it "
        f"({_short(error)}); run `hf download {name} --local-dir FOLDER` where there is a network and name FOLDER"
    )


def _short(error: Exception) -> str:
    """The first line of what a library says."""
    return str(error).strip().partition("\n")[0].rstrip(".")[:200] or type(error).__name__
