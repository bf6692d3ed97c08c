"""A SIP message as marked-up text: header names stand out, the body folds away, nothing in it is trusted."""

from dataclasses import dataclass

from markupsafe import Markup

from everline.app.visible import visible


@dataclass(frozen=True, slots=True)
class MessageText:
    """The parts of a message, escaped and ready for a page; `body` is empty without one."""

    head: Markup
    body: Markup


def message_text(payload: bytes) -> MessageText:
    """Split a message at its empty line; bytes that are not UTF-8 show as replacement characters."""
    text = visible(payload.decode("utf-8", "replace")).replace("\r\n", "\n")
    head, _, body = text.partition("\n\n")
    first, *fields = head.split("\n")
    lines = [Markup('<b class="start">{}</b>').format(first), *map(_field, fields)]
    return MessageText(Markup("\n").join(lines), Markup("{}").format(body))


def _field(line: str) -> Markup:
    name, colon, value = line.partition(":")
    if not colon or line.startswith((" ", "\t")):  # A folded line goes on with the value above it.
        return Markup("{}").format(line)
    return Markup('<span class="name">{}:</span>{}').format(name, value)
