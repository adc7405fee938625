# SPDX-License-Identifier: Apache-2.0
"""`python -m training.evaluate`: the quality of the shipped path; `dropclip-eval` makes the paper's tables."""

import tyro

from training.evaluate.served.quality import main

tyro.cli(main)
