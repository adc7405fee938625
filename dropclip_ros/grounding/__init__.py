# SPDX-License-Identifier: Apache-2.0
"""A phrase in, the objects that it means out (section 3.4)."""
