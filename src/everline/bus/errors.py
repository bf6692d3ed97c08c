"""What can go wrong with the bus, by what the operator has to do about it."""

from everline.errors import EverlineError


class BusError(EverlineError):
    """The bus gave no answer, or refused. What was asked may be asked again."""
