# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution on voxels: one protocol, several backends (A.2)."""
