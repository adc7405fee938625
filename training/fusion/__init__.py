# SPDX-License-Identifier: Apache-2.0
"""Multi-view fusion of 2D features, point-wise and with object-centric priors (sections 3.1 and 3.2)."""
