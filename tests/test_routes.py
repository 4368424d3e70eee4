"""The rule table: the nearest rule decides, no rule is no entry, and a path has one rule for lax upstreams too."""

import pytest

from sealwire.call import Rule
from sealwire.errors import Misuse, Refusal
from sealwire.protocol.message import read_target
from sealwire.routes import HELD_PATH_BYTES, HELD_PATHS, Routes


def rule(template: str, methods: str = "GET", **more: object) -> Rule:
    """A rule for these methods."""
    return Rule(template, frozenset(methods.split()), "signed")._replace(**more)  # type: ignore[arg-type]  # as named


def match(routes: Routes, path: bytes, method: str = "GET") -> str:
    """The template that decides, or the code of the refusal."""
    try:
        return routes.match(method, read_target(path)).template
    except Refusal as refusal:
        return refusal.code


@pytest.mark.parametrize(
    ("path", "template"),
    [
        (b"/", "/"),
        (b"/v1/orders", "/v1/orders"),
        (b"/v1/orders/7", "/v1/orders/{id}"),
        (b"/v1/orders/new", "/v1/orders/new"),
        (b"/v1/orders/7/lines", "/v1/**"),
        (b"/v1/n%65w?x=1", "/v1/**"),
        (b"/v1/orders/n%65w", "/v1/orders/new"),
        (b"/v2", "not-found/no-rule"),
        (b"/v1/orders/", "target-not-canonical/other-rule"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_nearest_rule(path: bytes, template: str, order: int) -> None:
    """A literal comes before a parameter before the rest, in whatever order the rules stand."""
    templates = ("/", "/v1/orders", "/v1/orders/{id}", "/v1/orders/new", "/v1/**")
    assert match(Routes([rule(one) for one in templates[::order]]), path) == template


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path", [b"/", b"/v1/orders", b"/v1/Users", b"/v1/users", b"/v1/orders?x=1", b"/v1/orders/new", b"/v1/a;b"]
)
def test_what_is_held_is_what_would_be_found(path: bytes, method: str) -> None:
    """The rules of paths that came before are held: the same rules, and the same refusals."""
    templates = ("/", "/v1/orders", "/v1/Users", "/v1/orders/new", "/v1/orders/{id}", "/v1/**")
    routes = Routes([rule(one, "GET POST") for one in templates] + [rule("/v1/orders/**", "DELETE")])
    first, again = match(routes, path, method), match(routes, path, method)
    assert first == again == match(Routes(routes.rules), path, method)
    held = routes._found.cache_info()
    assert held.hits == held.currsize  # what was refused is found out anew


def test_no_more_paths_are_held_than_the_bound() -> None:
    """Whatever paths come, and however long they are: no more than so many are held, and no long one."""
    routes = Routes([rule("/v1/**")])
    for number in range(HELD_PATHS + 10):
        assert match(routes, b"/v1/%d" % number) == "/v1/**"
    assert match(routes, b"/v1/" + b"a" * HELD_PATH_BYTES) == "/v1/**"
    held = routes._found.cache_info()
    assert (held.currsize, held.misses) == (HELD_PATHS, HELD_PATHS + 10)


def test_methods() -> None:
    """A path has rules by method; one with none is 405 and told which there are, HEAD and OPTIONS too."""
    routes = Routes([rule("/a", "GET"), rule("/a", "POST PUT")])
    assert routes.match("PUT", read_target(b"/a")).methods == {"POST", "PUT"}
    for method in ("HEAD", "OPTIONS", "DELETE"):
        with pytest.raises(Refusal, match="method-not-allowed/method") as caught:
            routes.match(method, read_target(b"/a"))
        assert caught.value.fields == ((b"allow", b"GET, POST, PUT"),)


def test_a_farther_rule_may_have_the_method() -> None:
    """Where the nearest template has no rule for the method, the next nearest decides."""
    routes = Routes([rule("/a/{id}", "GET"), rule("/a/**", "DELETE")])
    assert match(routes, b"/a/1", "DELETE") == "/a/**"


@pytest.mark.parametrize("path", [b"/Admin", b"/admin;x=1", b"/admin/", b"/ADMIN;/"])
def test_paths_with_a_second_rule(path: bytes) -> None:
    """A path that a lax upstream would run under another rule is refused, unless its own rule is exact."""
    rules = [rule("/admin"), rule("/**")]
    assert match(Routes(rules), path) == "target-not-canonical/other-rule"
    assert match(Routes([rule("/admin"), rule("/**", exact=True)]), path) == "/**"
    assert match(Routes([rule("/**")]), path) == "/**"


def test_capitals_in_templates() -> None:
    """Two templates that differ by case alone are two rules for one path to a lax upstream."""
    routes = Routes([rule("/Admin"), rule("/other")])
    assert match(routes, b"/Admin") == "/Admin"
    assert match(routes, b"/admin") == "target-not-canonical/other-rule"
    both = Routes([rule("/Admin", "GET"), rule("/admin", "POST")])
    assert match(both, b"/Admin") == "target-not-canonical/other-rule"
    with pytest.raises(Misuse, match="both decide GET"):
        Routes([rule("/Admin"), rule("/admin")])


def test_encoded_slashes() -> None:
    """An encoded slash stands only in the one parameter that the rule allows it for."""
    routes = Routes([rule("/files/{name}/{part}", slash_ok="name"), rule("/plain/{name}")])
    assert match(routes, b"/files/a%2fb/c") == "/files/{name}/{part}"
    assert match(routes, b"/files/a/b%2Fc") == "target-not-canonical/encoded"
    assert match(routes, b"/plain/a%2Fb") == "target-not-canonical/encoded"
    assert match(routes, b"/plain/a%2Fb", "POST") == "target-not-canonical/encoded"
    assert match(routes, b"/files/a%2fb/c", "POST") == "method-not-allowed/method"


@pytest.mark.parametrize("other", ["/files/admin/delete", "/files/Admin/delete", "/files/admin/{what}", "/files/**"])
def test_an_encoded_slash_reaches_no_other_rule(other: str) -> None:
    """The app sees the path decoded, so what falls under another rule then is refused, unless its rule is exact."""
    for path in (b"/files/admin%2fdelete", b"/files/admin%2Fdelete;x/"):
        routes = Routes([rule("/files/{name}", slash_ok="name"), rule(other)])
        assert match(routes, path) == "target-not-canonical/other-rule"
    exact = Routes([rule("/files/{name}", slash_ok="name", exact=True), rule(other)])
    assert match(exact, b"/files/admin%2fdelete") == "/files/{name}"


@pytest.mark.parametrize("template", ["a", "/a//b", "/a**", "/**/a", "/a{id}", "/{Id}", "/{id", "/id}", "/{}"])
def test_templates_that_are_none(template: str) -> None:
    """What is no template stops the start."""
    with pytest.raises(Misuse, match="rules: path"):
        Routes([rule(template)])


@pytest.mark.parametrize(("one", "two"), [("/a", "/a"), ("/a/{x}", "/a/{y}"), ("/a/**", "/a/**")])
def test_two_rules_for_one_call(one: str, two: str) -> None:
    """Two rules that decide one method of one path stop the start."""
    with pytest.raises(Misuse, match="both decide GET"):
        Routes([rule(one, "GET POST"), rule(two, "GET")])
