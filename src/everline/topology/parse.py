"""cluster.yaml as a topology: every fault at once, each with its path, its line and what to do."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from everline.topology.errors import TopologyError, TopologyFault
from everline.topology.faults import faults_of
from everline.topology.model import Topology
from everline.topology.yaml_text import Path, YamlText, parse_yaml, path_text

_PLAINER: Final[Mapping[str, str]] = {
    "model_type": "need keys below it (KEY: VALUE)",
    "dict_type": "need keys below it (KEY: VALUE)",
    "tuple_type": "need a list, each item after a hyphen",
    "string_type": "need text; put it in quotes",
    "int_type": "need a whole number, not in quotes",
    "too_short": "need at least one",
}
"""What pydantic says in words of Python, in words of YAML."""


def parse_topology(text: str, *, source: str) -> Topology:
    """
    Read and check a cluster.

    Args:
        text: The YAML text.
        source: Where it stands, for messages.

    Raises:
        TopologyError: With every fault that was found. Faults of the whole (`everline.topology.faults`) are among them
            if its parts could be understood.
    """
    yaml_text = parse_yaml(text, source=source)
    faults = list(yaml_text.faults)
    topology = _understood(yaml_text.value if yaml_text.value is not None else {}, yaml_text, faults)
    if topology is not None:
        found = faults_of(topology)
        faults.extend(TopologyFault(one.path, one.problem, _line(yaml_text, one.path)) for one in found)
    if topology is None or faults:
        raise TopologyError(sorted(faults, key=lambda one: (one.line or 0, one.path)), source=source)
    return topology


def _understood(value: Any, yaml_text: YamlText, faults: list[TopologyFault]) -> Topology | None:  # what YAML can hold
    """The topology without the keys that are not known, which are faults; None if its other keys make none."""
    try:
        return Topology.model_validate(value)
    except ValidationError as error:
        errors = [one for one in error.errors(include_url=False) if not _of_its_items(one)]
    faults.extend(_fault(one, yaml_text) for one in errors)
    if any(one["type"] != "extra_forbidden" or "roles" in one["loc"][-2:] for one in errors):
        return None
    for one in errors:
        _remove(value, one["loc"])
    return _understood(value, yaml_text, faults)  # Each time with fewer keys.


def _of_its_items(error: ErrorDetails) -> bool:
    """Whether a list is called too short only because its items have faults, which are said anyway."""
    return error["type"] == "too_short" and bool(error["input"])


def _remove(value: Any, path: Path) -> None:  # what YAML can hold
    for one in path[:-1]:
        value = value[one]
    value.pop(path[-1], None)


def _fault(error: ErrorDetails, yaml_text: YamlText) -> TopologyFault:
    path = error["loc"]
    return TopologyFault(path_text(path) or "text", _problem(error), yaml_text.line_of(path))


def _problem(error: ErrorDetails) -> str:
    path, value = error["loc"], error["input"]
    if error["type"] == "extra_forbidden":
        return _unknown(path)
    if error["type"] == "missing":
        return f"is missing{_meaning(path)}"
    need = _PLAINER.get(error["type"], error["msg"].removeprefix("Value error, "))
    # Whoever writes a secret where its place should stand does not want it in a log.
    shown = isinstance(value, str | int | float) and path[:1] not in {("secrets",), ("hooks",)}
    return f"{value!r}: {need}" if shown else need


def _unknown(path: Path) -> str:
    name, known = str(path[-1]), list(_model_at(path[:-1]).model_fields)
    near = get_close_matches(name, known, n=1)
    kind = "role" if path[-2:-1] == ("roles",) else "key"
    return f"is no such {kind}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")


def _meaning(path: Path) -> str:
    known = _model_at(path[:-1]).model_fields
    description = known[str(path[-1])].description
    return f": {description}" if description else ""


def _model_at(path: Path) -> type[BaseModel]:
    """The model whose keys stand at a path."""
    model: type[BaseModel] = Topology
    for name in path:
        if isinstance(name, str):
            model = next(_models_in(model.model_fields[name].annotation))
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # a type expression
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models_in(one)


def _line(yaml_text: YamlText, path: str) -> int | None:
    return yaml_text.line_of(_steps(path))


def _steps(path: str) -> Path:
    parts: Iterable[str] = path.replace("[", ".#").replace("]", "").split(".")
    return tuple(int(part[1:]) if part.startswith("#") else part for part in parts)
