# SPDX-License-Identifier: Apache-2.0
"""What the tables compare: ours, the upper bounds, image models, predictions of other systems (A.4)."""
