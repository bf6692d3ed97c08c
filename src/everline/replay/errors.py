"""What can go wrong on the way from a file to a node."""

from everline.errors import EverlineError


class CaptureInputError(EverlineError):
    """The file cannot be read, or holds nothing to send."""


class TargetError(EverlineError):
    """The target is not written as one."""

    exit_code = 2


class SendError(EverlineError):
    """The target does not take what is sent."""

    exit_code = 3
