# SPDX-License-Identifier: Apache-2.0
"""What peers are told: whoever can send a request learns no more of this machine's files than their names."""

import re
from pathlib import Path

# After a space, a quote or a bracket; topics and frames look the same, but lie in no folder of this machine.
_PATH = re.compile(r"""(?<![\w/.:~-])~?/(?:[^\s/'",;:()\[\]]+/)*[^\s/'",;:()\[\]]+""")


def for_peers(message: str) -> str:
    """The message, with files and folders of this machine by their last name alone."""
    return _PATH.sub(lambda found: _name(found.group()), message)


def of_a_bug(error: BaseException) -> str:
    """What is told of an exception that nobody foresaw: its text may hold what was read."""
    return f"internal error, please report it: {type(error).__name__}; this node's log says more"


def _name(path: str) -> str:
    first = Path(path).parts[1] if path.startswith("/") else "~"
    return Path(path).name if first == "~" or Path("/", first).is_dir() else path
