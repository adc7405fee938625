# SPDX-License-Identifier: Apache-2.0
"""What makes the encoder: scenes (MV-TOD), multi-view fusion with object-centric priors, distillation."""
