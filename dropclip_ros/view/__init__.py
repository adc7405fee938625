# SPDX-License-Identifier: Apache-2.0
"""The live view: a page in the browser that asks the same pipeline as nodes and command (extra `view`)."""
