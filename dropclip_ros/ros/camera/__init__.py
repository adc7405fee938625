# SPDX-License-Identifier: Apache-2.0
"""What a camera sends: its streams are subscribed, paired by stamp and registered; a frame is decoded when asked."""
