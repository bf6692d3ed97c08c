"""NGINX: in front of the app nodes, and in place of a balancer where only stock software may run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from everline.topology.model import (
    AppOptions,
    BalancerOptions,
    IngestOptions,
    NginxOptions,
    Node,
    Role,
    Timers,
    Topology,
)
from everline.topology.render.files import RenderedFile, listen_at, own_source, render_template
from everline.topology.render.places import Places

EVENTS_PATH: Final = "/api/v1/events"
"""Server-sent events: answers without end."""

OWN_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What an answer of NGINX's own tells a browser. Those of app nodes say it themselves, and are not told it twice."""

EXPORT_MS: Final = 60_000

FORGIVEN_S: Final = 2
"""How long an app node that failed is left alone; so long a client should wait before it asks again."""


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """An error that NGINX answers itself: as a page, and below /api/ as problem+json (RFC 9457)."""

    status: int
    title: str
    detail: str
    next_step: str


_SOON: Final = "Try again in a few seconds; if it stays, run `everline cluster status` on any host."
OWN_ANSWERS: Final = (
    OwnAnswer(400, "Bad Request", "This request can't be understood.", "Load the page anew from its address."),
    OwnAnswer(404, "Not Found", "There is nothing at this address.", "Check the address, or begin at /."),
    OwnAnswer(405, "Method Not Allowed", "Nothing here is asked that way.", "See /api/v1/openapi.json for methods."),
    OwnAnswer(413, "Content Too Large", "The body is larger than 1 MiB.", "Send less at once."),
    OwnAnswer(414, "URI Too Long", "The address is longer than 16 KiB.", "Send a shorter query: at most 8 KiB."),
    OwnAnswer(
        431, "Request Header Fields Too Large", "The headers are longer than 16 KiB each, or 64 KiB in all.",
        "Delete the cookies of this site, or send fewer headers.",
    ),
    OwnAnswer(500, "Internal Server Error", "NGINX could not pass the request on.", _SOON),
    OwnAnswer(501, "Not Implemented", "The request comes in an encoding that is unknown here.", "Send it plain."),
    OwnAnswer(502, "Bad Gateway", "No app node answered.", _SOON),
    OwnAnswer(503, "Service Unavailable", "Too many requests are under way.", _SOON),
    OwnAnswer(504, "Gateway Timeout", "The app node that was asked gave no answer in time.", _SOON),
    OwnAnswer(505, "HTTP Version Not Supported", "This is a version of HTTP that nobody has.", "Use HTTP/1.1 or 2."),
)  # fmt: skip
SENT_ALREADY: Final = "See whether it was done before you send it again: it may have arrived, and is not sent twice."
"""What to do next after a 502 or 504 to a request that is none of GET and HEAD."""


@dataclass(frozen=True, slots=True)
class Waits:
    """
    How long NGINX waits for an app node, milliseconds.

    Attributes:
        connect_ms: For a connection.
        quick_ms: Between bytes of what asks no store: files, the state of a node.
        answer_ms: Between bytes of anything else. Longer than an app node may wait for the store, because who is left
            while it works honestly is called unwell, and its question is asked again of the next one.
        export_ms: Between bytes of an export.
        pass_on_ms: After this no further app node is asked: one more after one that hung, three that refuse.
    """

    connect_ms: int
    quick_ms: int
    answer_ms: int
    export_ms: int
    pass_on_ms: int

    @classmethod
    def of(cls, timers: Timers) -> "Waits":
        """As the cluster's timers want it."""
        connect_ms = timers.connect_ms
        answer_ms = timers.query_ms + 2 * connect_ms
        return cls(connect_ms, 3 * connect_ms, answer_ms, max(EXPORT_MS, answer_ms), answer_ms + 3 * connect_ms)


def render_nginx(topology: Topology, node: Node, places: Places) -> dict[str, RenderedFile]:
    """`nginx.conf`."""
    members, options = topology.nodes_of(Role.APP), node.options_as(NginxOptions)
    facts = {
        "node": node, "options": options, "listen": listen_at(topology, node),
        "members": [(one, one.options_as(AppOptions)) for one in members], "source": own_source(node, members),
        "run_dir": places.run_dir(node), "log_dir": places.log_dir(node), "user": places.user,
        "waits": Waits.of(topology.timers), "events_path": EVENTS_PATH, "own_headers": OWN_HEADERS,
        "own_answers": OWN_ANSWERS, "sent_already": SENT_ALREADY, "forgiven_s": FORGIVEN_S,
        "https_port": "" if options.https_port == 443 else f":{options.https_port}",
    }  # fmt: skip
    return {"nginx.conf": RenderedFile(render_template("nginx.conf", topology, **facts))}


def render_nginx_stream(topology: Topology, node: Node, places: Places) -> dict[str, RenderedFile]:
    """`nginx-stream.conf` and the `call_id.js` that it imports: what a balancer does, as far as NGINX can."""
    members = sorted(topology.nodes_of(Role.INGEST), key=lambda one: one.name)
    facts = {
        "node": node, "options": node.options_as(BalancerOptions), "listen": listen_at(topology, node),
        "members": [(one, one.options_as(IngestOptions)) for one in members], "config_dir": places.config_dir(node),
        "run_dir": places.run_dir(node), "user": places.user, "modules": places.programs.nginx_modules,
        "receive_buffer_bytes": topology.ingest.receive_buffer_bytes,
    }  # fmt: skip
    names = ("nginx-stream.conf", "call_id.js")
    return {name: RenderedFile(render_template(name, topology, **facts)) for name in names}
