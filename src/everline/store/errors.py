"""What can go wrong with a store, by what the operator has to do about it."""

from pathlib import Path

from everline.errors import EverlineError


class StoreError(EverlineError):
    """The store refused a statement. `code` is the engine's error code, 0 if it gave none."""

    def __init__(self, text: str, *, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class StoreLockedError(StoreError):
    """Another process has the data directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is in use by another Everline process: stop that one, or choose another data directory"
        )
        self.path = path


class StoreTooNewError(StoreError):
    """The data was written by a later version."""

    def __init__(self, path: Path, *, found: int, known: int) -> None:
        super().__init__(
            f"{path} holds data of store version {found}, and this Everline knows up to {known}: "
            "install the later Everline again, or choose another data directory"
        )
        self.path, self.found, self.known = path, found, known


class StoreUnwritableError(StoreError):
    """The data directory cannot be made, read or written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used as data directory ({reason}): give it to the user that runs Everline")
        self.path = path


class StoreFullError(StoreError):
    """There is no room left. Nothing that was acknowledged is lost; the batch may be given again."""

    def __init__(self, path: Path, *, code: int) -> None:
        super().__init__(f"the disk of {path} is full: free some space, or keep messages for fewer days", code=code)
        self.path = path


class StoreDeadlineError(StoreError):
    """A question took more time, or more memory, than one may."""

    def __init__(self, limit_s: float, *, code: int = 0) -> None:
        super().__init__(
            f"the store found no answer within {limit_s:g} s and its memory: ask for a shorter time or fewer calls",
            code=code,
        )
        self.limit_s = limit_s


class StoreClosedError(StoreError):
    """The store was closed."""

    def __init__(self) -> None:
        super().__init__("the store is closed: open it again")
