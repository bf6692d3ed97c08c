"""What can go wrong with a lab, in words for whoever starts one."""

from everline.errors import EverlineError


class LabError(EverlineError):
    """The machine, or what is on it, does not let a lab be. The text says what to do about it."""


class UnfitError(LabError):
    """A lab can't start here, or not now: nothing was touched."""

    exit_code = 3
