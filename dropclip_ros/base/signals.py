# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in the seconds in which a program only imports: silence, not a traceback."""

import os
import signal
import sys

ENDING = (signal.SIGINT, signal.SIGTERM)


def end_quietly(code: int = 0) -> None:
    """From here on SIGINT and SIGTERM end the process at once, without a word: there is nothing to tidy up yet.

    The KeyboardInterrupt of Python's own handler is a traceback, and is lost where it meets a callback of the import
    system or a destructor, which swallow it.
    """
    for number in ENDING:
        signal.signal(number, lambda *_: os._exit(code))


def end_quietly_as_program(code: int = 0) -> None:
    """The same for `python -m PACKAGE.MODULE`, called from PACKAGE's `__init__`: only then Python has no script yet."""
    if sys.argv[:1] == ["-m"]:
        end_quietly(code)


def end_as_usual() -> None:
    """Python's own handlers again: SIGINT is a KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
