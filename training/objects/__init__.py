# SPDX-License-Identifier: Apache-2.0
"""The objects of scenes: specs, catalogues, meshes, materials, and the words said of them (A.1)."""
