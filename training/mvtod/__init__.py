# SPDX-License-Identifier: Apache-2.0
"""MV-TOD: the generator of cluttered tabletop scenes (section 2 and A.1)."""
