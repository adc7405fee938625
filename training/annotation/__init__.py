# SPDX-License-Identifier: Apache-2.0
"""Attributes and phrases of objects by a vision-language model (A.1.1)."""
