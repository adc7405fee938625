# SPDX-License-Identifier: Apache-2.0
"""What everything stands on: arrays of NumPy or torch, errors with a status, devices, files with digests."""
