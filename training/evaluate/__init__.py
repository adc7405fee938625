# SPDX-License-Identifier: Apache-2.0
"""What methods are worth: tasks, metrics, data sets and one protocol for all of them (section 4)."""
