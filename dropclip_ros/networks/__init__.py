# SPDX-License-Identifier: Apache-2.0
"""The networks, and the folder that a model is kept in: sparse encoder, text tower, image tower (A.2, 3.4)."""
