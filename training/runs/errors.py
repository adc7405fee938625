# SPDX-License-Identifier: Apache-2.0
"""What a user of `training` can mend."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dropclip_ros.base.errors import DropclipError


class InputError(ValueError):
    """One sentence: what was wrong, what was expected, what to do. The command line prints it and ends with code 2."""


@contextmanager
def in_a_line(program: str, *also: type[Exception]) -> Iterator[None]:
    """Ends the program with a line on stderr where something is wrong that its user can mend; also: such errors."""
    try:
        yield
    except (InputError, DropclipError, *also) as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        place = error.filename or "a file"
        print(f"{program}: {place}: {error.strerror or error}; mend it, then run it again", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{program}: stopped; the same command goes on where it was", file=sys.stderr)
        sys.exit(130)
