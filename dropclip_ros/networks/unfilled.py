# SPDX-License-Identifier: Apache-2.0
"""Networks that are about to be given their weights are made without drawing any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NoValues(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules made meanwhile have shapes and no values, for `load_state_dict(..., assign=True)`.

    On torch's meta device alone, drawing their first weights would import torch's compiler: 2 s and 150 MB.
    """
    with torch.device("meta"), _NoValues():
        yield
