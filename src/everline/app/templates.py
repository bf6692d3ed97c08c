"""Pages out of templates: one environment, everything escaped, the frame of every page filled in here."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from everline import __version__
from everline.access.roles import Actor, Role
from everline.app import words
from everline.app.cluster_view import SIGNS
from everline.app.course import calls_link
from everline.app.range_menu import UNLESS_CHOSEN, range_menu
from everline.app.visible import visible

THEMES: Final = ("auto", "light", "dark")
CLOCKS: Final = ("utc", "local")

SECTIONS: Final = (
    ("/", "Overview", "overview"),
    ("/live", "Live", "live"),
    ("/calls", "Calls", "calls"),
    ("/quality", "Quality", "quality"),
)
"""Path, title and icon of the entries of the rail."""
CLUSTER_SECTIONS: Final = (("/cluster", "Cluster", "cluster"), ("/failovers", "Failovers", "failovers"))
"""Those of a node that is not alone."""
CHARTS: Final = (files("everline.app") / "static" / "vendor" / "chart.umd.min.js").is_file()
"""Whether the library that draws charts was there when this node started; without it tables say the same."""


ADMIN_SECTIONS: Final = (("/admin/users", "Admin", "admin"),)
"""That of an admin."""


def call_path(call_id: str) -> str:
    """The path of a call's page: a Call-ID may hold anything, slashes included."""
    return f"/calls/{quote(call_id, safe='')}"


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,  # what the template shows; jinja2 takes any object
) -> HTMLResponse:
    """One page in the frame that all of them share."""
    services = request.app.state.services
    path = request.url.path
    actor = request.scope.get("state", {}).get("actor")
    sections = _sections(actor, in_cluster=services.cluster is not None)
    frame = {
        "theme": preference(request, "theme", THEMES),
        "clock": preference(request, "clock", CLOCKS),
        "here": path + (f"?{request.url.query}" if request.url.query else ""),
        "section": next((one for one, _, _ in sections if _part(one) == _part(path)), ""),
        "sections": sections,
        "menu": range_menu(path, request.query_params),
        "node": services.node,
        "actor": actor,
        "glances": services.cluster.glance() if services.cluster else None,
        "ledger": services.ledger(),
        "faults": services.readiness(),
        "partial_since_us": _partial_since_us(services.store.partial_since),
        "now_us": int(services.clock() * 1e6),
    }
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(frame | values), status, dict(headers or {}))


def _sections(actor: Actor | None, *, in_cluster: bool) -> tuple[tuple[str, str, str], ...]:
    cluster = CLUSTER_SECTIONS if in_cluster else ()
    return (*SECTIONS, *cluster, *(ADMIN_SECTIONS if actor and actor.role is Role.ADMIN else ()))


def _part(path: str) -> str:
    """The first part of a path: all below it belongs to one section."""
    return path.split("/")[1]


def preference(request: Request, name: str, choices: tuple[str, ...]) -> str:
    """A choice that the reader made earlier, else the first."""
    value = request.cookies.get(f"everline_{name}", "")
    return value if value in choices else choices[0]


def _partial_since_us(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e6)


def _as_seen(value: Any) -> Any:  # whatever a template shows
    """Of all that is not markup: what can't be seen is shown as a sign."""
    return visible(value) if type(value) is str else value


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("everline.app"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_as_seen,
    )
    environment.filters |= {
        "duration": words.duration,
        "moment": words.moment,
        "iso": words.iso_moment,
        "percent": words.percent,
        "ms": words.milliseconds,
        "score": words.score,
        "code": words.code,
        "call_path": call_path,
    }
    environment.globals |= {
        "version": __version__,
        "has_charts": CHARTS,
        "have_range": frozenset(UNLESS_CHOSEN),
        "calls_link": calls_link,
        "signs": SIGNS,
        "outcomes": words.OUTCOME_WORDS,
        "loss_state": words.loss_state,
        "outcome_key": words.outcome_key,
    }
    return environment


_ENVIRONMENT: Final = _environment()
