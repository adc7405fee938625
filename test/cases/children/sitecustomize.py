# SPDX-License-Identifier: Apache-2.0
"""Python reads this file first: the processes that a script starts find modules under their old names as it does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from run import install

del sys.path[0]
install()
