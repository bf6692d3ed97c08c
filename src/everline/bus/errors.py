"""What can go wrong with the bus, by what the operator has to do about it."""

from everline.errors import EverlineError


class BusError(EverlineError):
    """The bus gave no answer, or refused. What was asked may be asked again."""


class BusLostError(BusError):
    """The Redis that was asked is gone, hung, or not the primary: the Sentinels will name another."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"Redis {address} gives no answer ({reason}): waiting until the Sentinels name a primary")
        self.address, self.reason = address, reason


class BusPasswordError(BusError):
    """Redis or a Sentinel does not know the password."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address} refuses the password ({reason}): check secrets.redis, it guards Sentinel too")
        self.address = address


class BusAbsentError(BusError):
    """No primary is known."""

    def __init__(self, service: str, *, asked: int, answered: int, why: str) -> None:
        super().__init__(
            f"no Redis primary for {service!r} ({answered} of {asked} Sentinels answered; {why}): "
            "check that the hosts with the roles redis and sentinel run and can be reached"
        )
        self.service, self.asked, self.answered = service, asked, answered
