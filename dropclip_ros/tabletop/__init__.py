# SPDX-License-Identifier: Apache-2.0
"""The table by RANSAC, and what stands on it (A.7)."""
