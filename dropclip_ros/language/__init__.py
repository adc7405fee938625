# SPDX-License-Identifier: Apache-2.0
"""Phrases as people say them, read into a tree: `parse.read_phrase` is the way in. No network, no scene."""
