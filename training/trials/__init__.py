# SPDX-License-Identifier: Apache-2.0
"""Trials of language-guided grasping, counted (section 4.4, A.7): played over ROS 2 in any workcell that offers
`reset_cell`, `pick` and `ground_truth/poses`."""
