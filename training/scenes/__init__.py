# SPDX-License-Identifier: Apache-2.0
"""MV-TOD: cluttered tabletop scenes, made, rendered, stored, counted and looked at (section 2, A.1)."""
