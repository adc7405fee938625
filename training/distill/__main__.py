# SPDX-License-Identifier: Apache-2.0
"""`python -m training.distill` is `dropclip-distill`."""

from training.distill.cli import main

if __name__ == "__main__":
    main()
