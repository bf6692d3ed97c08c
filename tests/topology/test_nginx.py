"""NGINX as it is rendered, in front of app nodes: TLS, its own answers, request ids, who is left and when."""

import gzip
import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import pytest
from tests.rigs.certificate import certificate_in
from tests.rigs.ports import free_ports
from tests.running_node import RunningNode, running_node, until
from tests.topology.doors import cluster_of, places_in, written
from tests.topology.fronts import ANSWER_S, ASK_S, Answer, Front, fronted
from tests.topology.upstreams import Member, serving

from everline.app.security_headers import SECURITY_HEADERS
from everline.topology.model import Timers
from everline.topology.render import Programs, launch_of
from everline.topology.render.nginx import OWN_ANSWERS, OWN_HEADERS, Waits

pytestmark = pytest.mark.peers("nginx")

HSTS: Final = "Strict-Transport-Security"
NUMBER: Final = "4930123456"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A whole node."""
    with running_node(tmp_path_factory.mktemp("node") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def front(node: RunningNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """NGINX in front of the node."""
    with fronted(tmp_path_factory.mktemp("front"), int(node.url.rpartition(":")[2]), request_log="all") as running:
        yield running


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """NGINX with two app nodes of which none is there."""
    with fronted(tmp_path_factory.mktemp("alone"), *free_ports(2)) as running:
        yield running


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Front, Member, Member]]:
    """NGINX in front of two members."""
    kinds = {f"/{number}": {"Content-Type": kind} for number, kind in enumerate(SQUEEZED + PLAIN)}
    kinds["/secret"] = {"Content-Type": "text/html", "Content-Encoding": "identity"}
    slow = {"/api/v1/calls.csv": 1.5 * ANSWER_S}
    with ExitStack() as stack:
        one, two = (stack.enter_context(serving(Member(name, kinds=kinds, slow_s=slow))) for name in ("one", "two"))
        yield stack.enter_context(fronted(tmp_path, one.port, two.port)), one, two


@pytest.mark.parametrize(
    ("version", "protocols", "spoken"),
    [
        pytest.param("TLSv1_1", ["http/1.1"], None, id="1.1-is-refused"),
        pytest.param("TLSv1_2", ["http/1.1"], "http/1.1", id="1.2"),
        pytest.param("TLSv1_3", ["h2", "http/1.1"], "h2", id="1.3-with-http-2"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_versions_of_tls(version: str, protocols: list[str], spoken: str | None, front: Front) -> None:
    """The client of 1.1 would speak it: it is NGINX that does not."""
    trust = ssl.create_default_context(cafile=str(front.certificate))
    trust.set_ciphers("DEFAULT:@SECLEVEL=0")
    trust.minimum_version = trust.maximum_version = ssl.TLSVersion[version]
    trust.set_alpn_protocols(protocols)
    with socket.create_connection(("localhost", front.https), ASK_S) as plain:
        if spoken is None:
            with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                trust.wrap_socket(plain, server_hostname="localhost")
        else:
            with trust.wrap_socket(plain, server_hostname="localhost") as secure:
                assert secure.selected_alpn_protocol() == spoken


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/calls?number=%2B49&limit=5"), ("POST", "/login"), ("GET", "/metrics"), ("GET", "/")]
)
def test_who_comes_without_tls_is_sent_on(method: str, path: str, front: Front) -> None:
    """By 308, which keeps method and body, to the same address."""
    answer = front.ask(path, method, plain=True)

    assert (answer.status, answer.all("Location")) == (308, [f"https://localhost:{front.https}{path}"])
    assert answer.all(HSTS) == [], "nobody may believe it without TLS"
    assert_own(answer)


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_machines_are_answered_without_tls(path: str, front: Front) -> None:
    """Keepalived's check and `everline cluster status`."""
    assert front.ask(path, plain=True).status == 200
    assert front.ask(path).status == 200


def test_http_at_the_port_of_https_is_sent_on_too(front: Front) -> None:
    """A browser that was told a port and no scheme."""
    with closing(HTTPConnection("localhost", front.https, timeout=ASK_S)) as connection:
        connection.request("GET", "/calls")
        answer = Answer.of(connection.getresponse())

    assert (answer.status, answer.all("Location")) == (308, [f"https://localhost:{front.https}/calls"])


def assert_own(answer: Answer) -> None:
    """It has the headers of an answer that NGINX makes, each once."""
    assert {name: answer.all(name) for name in OWN_HEADERS} == {name: [one] for name, one in OWN_HEADERS.items()}
    assert re.fullmatch("[0-9a-f]{32}", answer.request_id)


@pytest.mark.parametrize("path", ["/login", "/static/app.css", "/api/v1/calls", "/nowhere", "/readyz"])
def test_no_header_of_an_app_node_is_doubled(path: str, front: Front) -> None:
    """They are its own; NGINX adds that the browser should come by https from now on."""
    answer = front.ask(path)

    found = {name: answer.all(name) for name in SECURITY_HEADERS}
    assert found == {name: [value] for name, value in SECURITY_HEADERS.items()}
    assert [len(answer.all(name)) for name in (HSTS, "Cache-Control", "X-Request-ID")] == [1, 1, 1]


def test_an_answer_of_nginx_says_to_a_browser_what_those_of_app_nodes_say() -> None:
    """The same headers, with the same words but for what may be loaded: nothing."""
    differing = {name for name, value in SECURITY_HEADERS.items() if OWN_HEADERS.get(name) != value}

    assert differing == {"Content-Security-Policy"}


def test_an_id_goes_all_the_way(front: Front, node: RunningNode) -> None:
    """Made by NGINX whatever the client says: in the words of the app node, on its answer, and in both logs."""
    claimed = "f" * 32
    sent = {"X-Request-ID": claimed, "Authorization": f"Bearer {node.token}"}
    answer = front.ask(f"/api/v1/calls/nobody?number={NUMBER}", headers=sent)

    assert json.loads(answer.body)["request_id"] == answer.request_id != claimed
    until(lambda: answer.request_id in front.log.read_text(), within_s=ASK_S, what="the request is logged")
    [line] = [line for line in front.logged() if answer.request_id in line]
    assert 'asked="GET /api/v1/calls/nobody" status=404' in line
    assert NUMBER not in line


@pytest.mark.peers("curl")
def test_events_come_at_once_by_http_2(front: Front, node: RunningNode) -> None:
    """As a browser has them: over one connection with all else, neither held back nor squeezed."""
    signed_in = f"Authorization: Bearer {node.token}"
    command = ["curl", "-sN", "--http2", "--compressed", "--cacert", str(front.certificate), "-D", "-",
               "-H", signed_in, f"https://localhost:{front.https}/api/v1/events"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout
        lines = list(takewhile(lambda line: line != "event: alive", map(str.strip, curl.stdout)))
        curl.terminate()

    assert lines[0] == "HTTP/2 200"
    assert "event: hello" in lines
    assert not [line for line in lines if line.startswith("content-encoding")]


SQUEEZED: Final = (
    "text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8", "application/json",
    "application/problem+json", "image/svg+xml", "text/csv; charset=utf-8", "application/jsonl",
)  # fmt: skip
PLAIN: Final = ("text/event-stream; charset=utf-8", "application/vnd.tcpdump.pcap")


def test_what_is_squeezed(pair: tuple[Front, Member, Member]) -> None:
    """Text that ends; not events, not captures, and not a page that says of itself that it holds a secret."""
    paths = [*(f"/{number}" for number in range(len(SQUEEZED + PLAIN))), "/secret"]
    answers = {path: pair[0].ask(path, headers={"Accept-Encoding": "gzip"}) for path in paths}

    squeezed = {path for path, answer in answers.items() if answer.all("Content-Encoding") == ["gzip"]}
    assert squeezed == set(paths[: len(SQUEEZED)])
    assert all(len(gzip.decompress(answers[path].body)) == 6_000 for path in squeezed)
    assert all(answers[path].all("Vary") == ["Accept-Encoding"] for path in squeezed)
    assert all(len(answers[path].body) == 6_000 for path in set(paths) - squeezed)


def test_a_hung_app_node_is_left_and_not_asked_again_at_once(pair: tuple[Front, Member, Member]) -> None:
    """The request goes on to the other one, and its line in the log says so, without the number in its query."""
    front, one, two = pair
    one.silent.set()
    answers = [front.ask(f"/calls?number={NUMBER}") for _ in range(4)]

    assert [answer.body[:3] for answer in answers] == [b"two"] * 4
    assert len(one.asked) == 1
    [line] = front.logged()
    assert f'upstream="127.0.0.1:{one.port}, 127.0.0.1:{two.port}" upstream_status="504, 200"' in line
    assert NUMBER not in line


def test_what_changes_something_is_never_sent_twice(pair: tuple[Front, Member, Member]) -> None:
    """Nobody knows whether the silent one did it: the client is told to look."""
    front, *members = pair
    for member in members:
        member.silent.set()
    answer = front.ask("/api/v1/nodes/x/drain", "POST", body=b"reason=x")

    assert answer.status == 504
    assert json.loads(answer.body)["next_step"].startswith("See whether it was done before you send it again")
    assert [one.method for member in members for one in member.asked] == ["POST"]


def test_an_export_may_pause(pair: tuple[Front, Member, Member]) -> None:
    """Longer than other answers: it asks the store between its pages."""
    front, *members = pair

    assert len(front.ask("/api/v1/calls.csv").body) == 6_000
    assert sum(len(member.asked) for member in members) == 1


def test_what_a_client_claims_of_itself_is_overwritten(pair: tuple[Front, Member, Member]) -> None:
    """An app node reads what NGINX has seen."""
    front, *members = pair
    claimed = {"X-Request-ID": "<script>", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"}
    front.ask("/", headers=claimed)

    [seen] = [one.headers for member in members for one in member.asked]
    assert re.fullmatch("[0-9a-f]{32}", seen["X-Request-ID"])
    assert (seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == ("127.0.0.1", "https")


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body"),
    [
        pytest.param("GET", "/calls", 502, {}, 0, id="nobody-is-there"),
        pytest.param("POST", "/login", 502, {}, 10, id="nobody-is-there-for-a-form"),
        pytest.param("GET", "/metrics", 404, {}, 0, id="metrics-are-not-for-browsers"),
        pytest.param("GET", "/.own/page", 404, {}, 0, id="its-own-pages-are-no-pages"),
        pytest.param("TRACE", "/", 405, {}, 0, id="an-echo"),
        pytest.param("POST", "/login", 413, {}, (1 << 20) + 1, id="a-huge-body"),
        pytest.param("GET", f"/calls?number={'1' * 20_000}", 414, {}, 0, id="a-huge-query"),
        pytest.param("GET", "/", 431, {"Cookie": "x" * 20_000}, 0, id="a-huge-header"),
    ],
)
@pytest.mark.parametrize("form", ["page", "problem"])
def test_nginx_answers_itself(
    form: str, method: str, path: str, status: int, headers: Mapping[str, str], body: int, alone: Front
) -> None:
    """As a page, or as problem+json below /api/: what happened, what to do, the request; never its number."""
    if form == "problem" and path not in {"/metrics", "/.own/page"}:
        path = f"/api/v1{path}"
    answer = alone.ask(path, method, body=b"x" * body, headers=headers)
    said = next(one for one in OWN_ANSWERS if one.status == status)

    assert answer.status == status
    assert_own(answer)
    assert answer.all(HSTS) == ["max-age=31536000"]
    assert answer.all("Retry-After") == (["2"] if status == 502 else [])
    if path.startswith("/api/"):
        assert answer.all("Content-Type") == ["application/problem+json"]
        problem = json.loads(answer.body)
        assert (problem["status"], problem["detail"]) == (status, said.detail)
        assert problem["request_id"] == answer.request_id
    else:
        assert answer.all("Content-Type") == ["text/html; charset=utf-8"]
        assert f"<p>Code {status}. Request {answer.request_id}.</p>".encode() in answer.body
        assert said.detail.encode() in answer.body


def test_what_never_ends_takes_no_app_node(pair: tuple[Front, Member, Member]) -> None:
    """Half a body, and a query of a megabyte, of which NGINX may hang up on the rest: neither is passed on."""
    front, *members = pair
    with front.connected() as slow, front.connected() as huge:
        slow.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        with suppress(OSError):
            huge.sendall(b"GET /calls?number=" + b"1" * 1_000_000)
            assert huge.recv(100).startswith(b"HTTP/1.1 414 ")
        assert front.ask("/").status == 200

    assert [one.method for member in members for one in member.asked] == ["GET"]


def test_waits_follow_from_the_timers() -> None:
    """Longer than an app node may wait for the store, an export longer still, all else as short as can be."""
    waits = Waits.of(Timers())

    assert waits == Waits(connect_ms=1_000, quick_ms=3_000, answer_ms=12_000, export_ms=60_000, pass_on_ms=15_000)
    assert Waits.of(Timers(query_ms=300_000)).export_ms == 302_000


def config_of(root: Path, *, address: str = "127.0.0.1", **options: Any) -> str:  # of the role
    """Where the file of an NGINX in front of two app nodes is."""
    topology = cluster_of({"app": {}}, {"app": {"backup": True}, "nginx": options}, address=address)
    places = places_in(root)
    written(topology, places)
    for directory in launch_of(topology.node("h2-nginx"), places).directories:
        Path(directory).mkdir(parents=True)
    return f"{places.config_root}/h2-nginx/nginx.conf"


def looked_at(file: str) -> subprocess.CompletedProcess[str]:
    """What NGINX says of a configuration."""
    command = [Programs().nginx, "-e", "stderr", "-t", "-c", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("request_log", ["none", "failed", "all"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_nginx_accepts_what_is_rendered(address: str, request_log: str, tmp_path: Path) -> None:
    """With a certificate, with each kind of log, with both kinds of addresses; without a warning."""
    certificate, key = certificate_in(tmp_path)
    tls = {"tls_certificate": str(certificate), "tls_key": str(key)}
    done = looked_at(config_of(tmp_path, address=address, request_log=request_log, **tls))

    assert (done.returncode, "warn" in done.stderr) == (0, False), done.stderr


def test_nginx_tells_of_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    """Its own test on the host does: cluster.yaml can't know what is there."""
    tls = {"tls_certificate": f"{tmp_path}/none.pem", "tls_key": f"{tmp_path}/none.key"}
    done = looked_at(config_of(tmp_path, **tls))

    assert done.returncode == 1
    assert f"{tmp_path}/none.pem" in done.stderr


def test_without_a_certificate_there_is_no_word_of_tls(tmp_path: Path) -> None:
    """One server, on plain HTTP, which passes all on."""
    text = Path(config_of(tmp_path)).read_text()

    assert text.count("server {") == 1
    assert not [word for word in ("ssl", "308", HSTS, "https://$host") if word in text]


@pytest.mark.parametrize(("kind", "lines"), [("none", 0), ("failed", 2), ("all", 4)])
def test_requests_are_logged_as_told(kind: str, lines: int, tmp_path: Path) -> None:
    """Those that failed unless told otherwise; never the questions of machines that come each second."""
    with fronted(tmp_path, *free_ports(1), request_log=kind) as front:
        asked = [front.ask(path).status for path in ("/calls", "/api/v1/calls", "/metrics", "/.own/page", "/livez")]
    found = front.log.read_text().splitlines() if front.log.exists() else []

    assert asked == [502, 502, 404, 404, 200]
    assert len(found) == lines, "each is written before NGINX ends"
