"""What can go wrong with a lab, in words for whoever starts one."""

from everline.errors import EverlineError


class LabError(EverlineError):
    """The machine, or what is on it, does not let a lab be. The text says what to do about it."""


class NotReadyError(LabError):
    """A lab did not come up. `details` are lines: what each node answers, and the ends of their logs."""

    def __init__(self, text: str, *, details: tuple[str, ...]) -> None:
        super().__init__(text)
        self.details = details


class UnfitError(LabError):
    """A lab can't start here, or not now: nothing was touched."""

    exit_code = 3
