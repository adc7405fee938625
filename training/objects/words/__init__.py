# SPDX-License-Identifier: Apache-2.0
"""Phrases of objects in the four families of section 4: tables of words, and how they are put together."""
