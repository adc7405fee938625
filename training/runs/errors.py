# SPDX-License-Identifier: Apache-2.0
"""What a user of `training` can mend."""


class InputError(ValueError):
    """One sentence: what was wrong, what was expected, what to do. The command line prints it and ends with code 2."""
