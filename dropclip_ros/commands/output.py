# SPDX-License-Identifier: Apache-2.0
"""What commands print."""


class NoOutput(Exception):
    """stdout takes no more."""


def say(text: str) -> None:
    """A line on stdout. Raises NoOutput."""
    try:
        print(text, flush=True)
    except OSError as error:
        raise NoOutput(error.strerror) from error
