"""
YAML as plain values, with the line of every key.

Written out rather than left to a loader, because a configuration needs what loaders don't give: a key that stands twice
is a fault, all such faults come together with their paths, `on` and `no` are words (YAML 1.1 makes booleans of them),
and no tag makes an object of anything.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from everline.topology.errors import TopologyError, TopologyFault

Path = tuple[str | int, ...]

MOST_VALUES: Final = 100_000
"""Anchors can make a small text very large; no cluster needs so many keys."""

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}")
_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("map", "seq", "str", "null", "bool", "int", "float", "timestamp", "value", "merge")
)
"""What plain YAML resolves to; anything else was written as a tag."""

_TEXT: Final = "tag:yaml.org,2002:str"
_WORDS: Final[dict[str, bool | None]] = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class YamlText:
    """What a text holds: mappings, lists, text, numbers; the lines of its keys; what is wrong with it."""

    value: Any  # whatever YAML can hold
    lines: dict[Path, int]
    faults: tuple[TopologyFault, ...]

    def line_of(self, path: Path) -> int | None:
        """The line of a key; of the key around it if it is not there itself."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def path_text(path: Path) -> str:
    """A path as people write it: `regions[1].racks[0].name`."""
    text = "".join(f"[{one}]" if isinstance(one, int) else f".{_key_text(one)}" for one in path)
    return text.removeprefix(".")


def _key_text(key: str) -> str:
    return key if key.isprintable() else repr(key)  # A key may hold escape sequences, and a terminal would obey them.


def parse_yaml(text: str, *, source: str) -> YamlText:
    """
    Read one YAML document.

    Raises:
        TopologyError: The text is no YAML; with line and column.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"column {mark.column + 1}: " if mark else ""
        problem = f"is not YAML: {where}{error.problem or error.context}"
        raise TopologyError([TopologyFault("text", problem, mark.line + 1 if mark else None)], source=source) from error
    except yaml.YAMLError as error:  # A byte that YAML does not allow.
        problem = f"is not YAML: {' '.join(str(error).split())}"
        raise TopologyError([TopologyFault("text", problem)], source=source) from error
    except RecursionError as error:
        raise TopologyError([TopologyFault("text", "is nested too deeply")], source=source) from error
    reading = _Reading()
    value = None if root is None else reading.value_of(root, ())
    return YamlText(value, reading.lines, tuple(reading.faults))


@dataclass(slots=True)
class _Reading:
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[TopologyFault] = field(default_factory=list)
    _around: list[yaml.Node] = field(default_factory=list)
    _values: int = 0

    def value_of(self, node: yaml.Node, path: Path) -> Any:  # see YamlText
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._values += 1
        if any(node is one for one in self._around):
            return self._fault(path, node, "is an alias of what it stands in: write it out")
        if self._values > MOST_VALUES:
            if self._values == MOST_VALUES + 1:
                self._fault(path, node, f"is one value too many: {MOST_VALUES} are read at most")
            return None
        if node.tag not in _TAGS:
            return self._fault(path, node, f"has the tag {node.tag!r}, and none is read: leave it out")
        self._around.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value_of(one, (*path, index)) for index, one in enumerate(node.value)]
            plain = isinstance(node, yaml.ScalarNode) and node.style is None and node.tag != _TEXT
            return _scalar(node.value, plain=plain)
        finally:
            self._around.pop()

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:  # see YamlText
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(path, key_node, "has a key that is no text: write NAME: VALUE")
                continue
            key = key_node.value
            if key in found:
                problem = f"stands twice (first in line {self.lines[(*path, key)]}): leave one out"
                self._fault((*path, key), key_node, problem)
                continue
            if key == "<<":
                self._fault(
                    (*path, key), key_node, "is not read: write the keys out, or use an alias for a whole value"
                )
                continue
            self.lines[*path, key] = key_node.start_mark.line + 1
            found[key] = self.value_of(value_node, (*path, key))
        return found

    def _fault(self, path: Path, node: yaml.Node, problem: str) -> None:
        self.faults.append(TopologyFault(path_text(path) or "text", problem, node.start_mark.line + 1))


def _scalar(text: str, *, plain: bool) -> Any:  # see YamlText
    if not plain:  # Quoted, or a block: text in any case.
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
