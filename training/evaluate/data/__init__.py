# SPDX-License-Identifier: Apache-2.0
"""Data sets that are evaluated on, each a module with one `load_` function that gives a list of EvalScene."""
