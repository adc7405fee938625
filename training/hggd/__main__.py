# SPDX-License-Identifier: Apache-2.0
"""`python -m training.hggd`: see the package."""

from training.hggd.cli import main

if __name__ == "__main__":
    main()
