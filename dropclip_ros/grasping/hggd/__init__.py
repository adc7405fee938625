# SPDX-License-Identifier: Apache-2.0
"""Heatmap-guided 6-DoF grasp detection (HGGD): a learnt proposer for any RGB-D camera, in plain torch."""
