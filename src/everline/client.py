"""The HTTP API of a running node, as the command line uses it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx2

from everline.errors import EverlineError

PAGE: Final = 500
"""The most calls that a node gives in one answer."""

_TIMEOUT: Final = httpx2.Timeout(60.0, connect=5.0)
_DATA_DIRS: Final = (Path("var/everline"), Path("var/demo"))

Object = dict[str, Any]  # JSON from outside; the node's API page says what is in it


class NodeNotFoundError(EverlineError):
    """No running node is known here, or it does not answer."""

    exit_code = 3


class ApiError(EverlineError):
    """The node answered that it cannot do what was asked."""

    def __init__(self, status: int, detail: str, next_step: str) -> None:
        super().__init__(f"{detail.rstrip('.')}. {next_step}".rstrip())
        self.status = status


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node answers, and the token that lets us in."""

    url: str
    token: str = field(repr=False)


def locate(data_dir: Path | None, environ: Mapping[str, str]) -> NodeAddress:
    """
    Find the node: by its data directory, else by EVERLINE_URL and EVERLINE_TOKEN, else in the usual directories.

    Raises:
        NodeNotFoundError: None is known.
    """
    if data_dir is None and "EVERLINE_URL" in environ:
        return NodeAddress(environ["EVERLINE_URL"].rstrip("/"), environ.get("EVERLINE_TOKEN", ""))
    usual = [one for one in _DATA_DIRS if (one / "node.json").exists()]
    directory = data_dir or next(iter(usual), None)
    if directory is None:
        raise NodeNotFoundError(
            "no node is known here: name its directory with --data DIR, or set EVERLINE_URL and EVERLINE_TOKEN"
        )
    try:
        url = json.loads((directory / "node.json").read_text("utf-8"))["url"]
        token = (directory / "admin.token").read_text("utf-8").strip()
    except PermissionError as error:
        step = "ask as the user who runs the node, or set EVERLINE_URL and EVERLINE_TOKEN"
        raise NodeNotFoundError(f"{error.filename} cannot be read (Permission denied): {step}") from error
    except OSError as error:
        why = f"{error.filename} cannot be read ({error.strerror})"
        raise NodeNotFoundError(f"no node runs with {directory}: {why}; start it with `everline up`") from error
    except (ValueError, KeyError, TypeError) as error:
        raise NodeNotFoundError(f"{directory / 'node.json'} is damaged: start the node again") from error
    return NodeAddress(str(url).rstrip("/"), token)


class ApiClient:
    """Asks one node; every fault is an `EverlineError`."""

    def __init__(self, node: NodeAddress) -> None:
        self._node = node
        try:
            self._http = httpx2.Client(
                base_url=f"{node.url}/api/v1/",
                headers={"Authorization": f"Bearer {node.token}", "Accept": "application/json"},
                timeout=_TIMEOUT,
                trust_env=False,  # A node is near: no proxy stands between.
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise NodeNotFoundError(f"{node.url!r} is no URL of a node: {error}") from error

    def __enter__(self) -> "ApiClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def calls(self, filters: Mapping[str, str], limit: int | None) -> Iterator[Object]:
        """Calls that match, newest first, page by page; at most `limit`."""
        left, after = limit, ""
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            query = {**filters, "limit": str(size)} | ({"after": after} if after else {})
            page = self._object("calls", query)
            yield from page["calls"][:size]
            left = None if left is None else left - len(page["calls"])
            after = page["next"] or ""
            if not after:
                return

    def calls_csv(self, filters: Mapping[str, str]) -> Iterator[str]:
        """The lines of the node's CSV export, each with its end."""
        with self._translated(), self._http.stream("GET", "calls.csv", params=dict(filters)) as answer:
            if answer.status_code != 200:
                answer.read()
                _check(answer)
            rest = ""
            for text in answer.iter_text():
                *lines, rest = (rest + text).split("\n")
                yield from (line + "\n" for line in lines)
            if rest:
                yield rest

    def call(self, call_id: str) -> Object:
        """One call with its ladder."""
        return self._object(f"calls/{quote(call_id, safe='')}", {})

    def pcap(self, call_id: str) -> bytes:
        """Its messages as a capture file."""
        return self._get(f"pcap/{quote(call_id, safe='')}", {}).content

    def node(self) -> Object:
        """What the node says of itself."""
        return self._object("node", {})

    def _object(self, path: str, query: Mapping[str, str]) -> Object:
        answer = self._get(path, query)
        try:
            parsed: Object = answer.json()
        except ValueError as error:
            raise NodeNotFoundError(f"{self._node.url} answers, but not as a node does: check the URL") from error
        return parsed

    def _get(self, path: str, query: Mapping[str, str]) -> httpx2.Response:
        with self._translated():
            answer = self._http.get(path, params=dict(query))
        _check(answer)
        return answer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx2.ConnectError as error:
            why = f"the node at {self._node.url} does not answer"
            raise NodeNotFoundError(f"{why}: start it with `everline up`, or correct the URL") from error
        except httpx2.TimeoutException as error:
            raise NodeNotFoundError(f"the node at {self._node.url} took too long to answer: try again") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NodeNotFoundError(f"the node at {self._node.url} broke off: {error}") from error


def _check(answer: httpx2.Response) -> None:
    if answer.is_success:
        return
    try:
        problem = answer.json()
        detail, next_step = str(problem["detail"]), str(problem.get("next_step", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        detail, next_step = f"the node answered with status {answer.status_code}", ""
    if answer.status_code == 401:
        next_step = "Name the node's directory with --data DIR, or set EVERLINE_TOKEN to its admin token."
    raise ApiError(answer.status_code, detail, next_step)
