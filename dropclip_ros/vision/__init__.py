# SPDX-License-Identifier: Apache-2.0
"""From a camera to points: intrinsics, depth units, frames, bags, voxels (section 3.1, A.2)."""
