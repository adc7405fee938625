# SPDX-License-Identifier: Apache-2.0
"""A scene that lasts: frames with poses fused into one world, objects that keep their ids."""
