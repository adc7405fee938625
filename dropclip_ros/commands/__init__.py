# SPDX-License-Identifier: Apache-2.0
"""Commands of `dropclip` that make models: create, import, calibrate, train."""
