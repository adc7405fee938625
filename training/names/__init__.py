# SPDX-License-Identifier: Apache-2.0
"""What the package knows of names in pictures: features of crops, the names learned from them, and their weights."""
