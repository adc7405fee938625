# SPDX-License-Identifier: Apache-2.0
"""How a camera and the nodes are, for those who ask."""
