# SPDX-License-Identifier: Apache-2.0
"""Devices: what cannot be used is said, and a model that gives no numbers is no model."""

import pytest
import torch

from dropclip_ros.base.devices import finite, usable_device
from dropclip_ros.base.errors import DropclipError, Status


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_one_value_that_is_no_number_is_a_model_error(bad):
    values = torch.zeros(3, 4)
    assert finite(values, "the encoder") is values
    values[1, 2] = bad
    with pytest.raises(DropclipError, match="the encoder gives numbers that are not finite") as error:
        finite(values, "the encoder")
    assert error.value.status == Status.MODEL_ERROR


@pytest.mark.parametrize("name", ["tpu", "cuda:77", "meta:x", ""])
def test_a_device_that_is_none_is_named(name):
    if name == "cuda:77" and torch.cuda.device_count() > 77:
        pytest.skip("this machine has so many")
    with pytest.raises(DropclipError, match="device") as error:
        usable_device(name)
    assert error.value.status == Status.MODEL_ERROR and "\n" not in str(error.value)
