"""
What HTTP can be bent into, on the real server over TLS: one stated answer each.

The answers stand in docs/http.md; each row of its tables is sent here as it stands there.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.call import Rule
from tests.stories.served import Served, raw, served
from tests.stories.world import Wire

pytestmark = pytest.mark.xdist_group("server")
PAGE = Path(__file__).parents[2].joinpath("docs/http.md").read_text("utf-8")
RULES = (
    Rule("/time", frozenset(("GET",)), "open"),
    Rule("/login", frozenset(("POST",)), "open"),
    *(Rule(path, frozenset(("GET",)), "signed") for path in ("/a", "/a/b", "/v1/withdrawals", "/v1/**", "/**")),
)
CODE = re.compile(r"`([^`]*)`")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The rules of the page, served."""
    with served(tmp_path_factory.mktemp("http"), RULES) as running:
        yield running


def rows(heading: str) -> list[list[str]]:
    """The rows of the table under a heading."""
    text = re.split(rf"^## {heading}$", PAGE, flags=re.MULTILINE)[1].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def written(code: str) -> bytes:
    """The bytes that a code of the page stands for."""
    return re.sub(rb"<([0-9a-f]{2})>", lambda found: bytes((int(found[1], 16),)), code.encode("utf-8"))


def message(cell: str) -> bytes:
    """The bytes of a row: the lines of the head, an empty one, the lines of the body."""
    head, then, body = cell.partition("then")
    lines = [written(line) for line in CODE.findall(head)]
    if then:
        lines.append(b"Content-Type: application/json")
    sent = b"\r\n".join(lines) + b"\r\n\r\n"
    return sent + b"".join(written(line) + b"\r\n" for line in CODE.findall(body))


@pytest.mark.parametrize("row", rows("Paths"), ids=lambda row: row[0])
def test_a_path_has_one_reading(server: Served, row: list[str]) -> None:
    """
    D1, D19, D20: signed path, routed path and the path that the rule decided on are one reading of the same bytes, or
    400: dots, slashes, backslashes, codes, case, parameters, overlong UTF-8.

    Stopped by: arrive
    """
    target, answer, *decided = row[0].strip("`"), row[1], *(cell.strip("` ") for cell in row[2:])
    world, sent = server.world, written(target)
    entered = len(world.entered)
    assert server.say(raw(Wire("GET", sent).sign(world.signer))).said() == answer
    if answer != "200":
        assert len(world.entered) == entered
        return
    scope = world.entered[-1]
    path, _, query = sent.partition(b"?")
    assert [world.ledger.decisions[-1].template, scope["path"]] == decided
    assert (scope["raw_path"], scope["query_string"]) == (path, query)
    # A signature over another spelling of the same path is a signature over another path.
    other = b"/%25" + path[1:] if path == b"/" else b"/%%%02x" % path[1] + path[2:]
    spelt = Wire("GET", other).sign(world.signer)
    spelt.target = sent
    assert server.say(raw(spelt)).said() == ("200" if other == path else "401 signature-mismatch")


@pytest.mark.parametrize("row", rows("Targets and Host"), ids=lambda row: row[0])
def test_a_target_and_a_host_have_one_answer(server: Served, row: list[str]) -> None:
    """
    D2, D15: absolute, authority and asterisk forms; Host absent, twice, in other cases, with ports, userinfo, a dot, a
    path; forwarded hosts.

    Stopped by: arrive
    """
    assert server.say(message(row[0])).said() == row[1]


@pytest.mark.parametrize("row", rows("Versions, methods, fields") + rows("Bodies"), ids=lambda row: row[0])
def test_odd_messages_have_one_answer(server: Served, row: list[str]) -> None:
    """
    D4, D23: HTTP/0.9 to 2.0 in the clear, invented methods, folded lines, control bytes, `_` names, and every odd way
    to say how long a body is. What was answered with 200 was read whole, and nothing behind it was taken for a call.

    Stopped by: arrive
    """
    world = server.world
    world.bodies.clear()
    assert server.say(message(row[0])).said() == row[1]
    assert world.bodies == ([b"{}" if " then " in row[0] else b""] if row[1] == "200" else [])


def test_the_page_has_no_other_table() -> None:
    """
    D23: no row stands in the page that is not sent, and none twice.

    Stopped by: nothing
    """
    sent = [row[0] for name in re.findall(r"^## (.+)$", PAGE, re.MULTILINE) for row in rows(name)]
    assert len(sent) == len(set(sent)) == len(re.findall(r"^\| `", PAGE, re.MULTILINE)) > 150
    assert len(re.findall(r"^\|---", PAGE, re.MULTILINE)) == 4
