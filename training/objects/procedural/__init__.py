# SPDX-License-Identifier: Apache-2.0
"""Household objects made of code: their shapes, textures and words."""
