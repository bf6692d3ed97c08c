"""What can be wrong with an act on users, tokens and sessions; each says what to do next."""

from everline.errors import EverlineError


class AccessError(EverlineError):
    """An act that can't be done as asked."""


class WeakPasswordError(AccessError):
    """A password that is guessed too soon."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The password {why}.")


class AccessBusyError(AccessError):
    """Too many sign-ins at a time."""

    def __init__(self) -> None:
        super().__init__("Too many people sign in at this moment: try again in some seconds.")


class BookConflictError(AccessError):
    """Somebody else has changed the same thing in between, or it is there already, or no longer."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} was changed by somebody else in the same moment: look at it, and try again.")
        self.path = path


class BookUnavailableError(AccessError):
    """Users and tokens can't be read or changed now."""


class AuditUnavailableError(AccessError):
    """The audit log can't be read now."""
