"""PathPattern: what it matches, what it builds, and what it refuses at registration."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from trio_ws import App
from trio_ws.app import path as path_module
from trio_ws.app.errors import RegistrationError
from trio_ws.app.path import Converter, PathPattern, segments

UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
SEGMENT_TEXT = UNICODE.filter(lambda text: text != "" and {".", ".."}.isdisjoint(text.split("/")))
UUID_TEXT = "12345678-1234-5678-1234-567812345678"


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("/", "/", {}),
        ("/chat", "/chat", {}),
        ("/chat/", "/chat/", {}),
        ("/chat/{channel}", "/chat/cats", {"channel": "cats"}),
        ("/{a}/x/{b}", "/1/x/2", {"a": "1", "b": "2"}),
        ("/{n:int}", "/42", {"n": 42}),
        ("/{n:int}", "/-42", {"n": -42}),
        ("/{n:int}", "/007", {"n": 7}),
        ("/{x:float}", "/2.5", {"x": 2.5}),
        ("/{x:float}", "/2", {"x": 2.0}),
        ("/{u:uuid}", f"/{UUID_TEXT}", {"u": UUID(UUID_TEXT)}),
        ("/{u:uuid}", f"/{'ABCDEF12' + UUID_TEXT[8:]}", {"u": UUID("ABCDEF12" + UUID_TEXT[8:])}),
        ("/{p:path}", "/", {"p": ""}),
        ("/{p:path}", "/a/b//c/", {"p": "a/b//c/"}),
        ("/files/{p:path}/edit", "/files/a/b/edit", {"p": "a/b"}),
        ("/files/{p:path}/edit", "/files/edit/edit", {"p": "edit"}),
        ("/@{user}", "/@ada", {"user": "ada"}),
        ("/{name}.json", "/a.b.json", {"name": "a.b"}),
        ("/v{n:int}/x", "/v2/x", {"n": 2}),
        ("/{name:str}", "/x", {"name": "x"}),
    ],
)
def test_a_path_of_the_pattern_gives_its_values(pattern: str, path: str, values: dict[str, Any]) -> None:
    found = PathPattern(pattern).match(path)
    assert found == values
    assert found is not None
    assert list(map(type, found.values())) == list(map(type, values.values()))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/", ""),
        ("/", "//"),
        ("/chat", "/chat/"),
        ("/chat/", "/chat"),
        ("/chat", "/Chat"),
        ("/chat", "/chat/more"),
        ("/chat", "chat"),
        ("/chat/{channel}", "/chat/"),
        ("/chat/{channel}", "/chat"),
        ("/chat/{channel}", "/chat/a/b"),
        ("/{n:int}", "/1.5"),
        ("/{n:int}", "/+1"),
        ("/{n:int}", "/ 1"),
        ("/{n:int}", "/1_000"),
        ("/{n:int}", "/1%0A"),
        ("/{n:int}", "/٣"),
        ("/{n:int}", "/%D9%A3"),
        ("/{x:float}", "/nan"),
        ("/{x:float}", "/1e5"),
        ("/{x:float}", "/1."),
        ("/{u:uuid}", "/12345678123456781234567812345678"),
        ("/{u:uuid}", "/{12345678-1234-5678-1234-567812345678}"),
        ("/a/{p:path}", "/a"),
        ("/a/{p:path}/z", "/a/z"),
        ("/@{user}", "/@"),
        ("/@{user}", "/ada"),
        ("/aa{name}aa", "/aaa"),
        ("/{name}.json", "/.json"),
    ],
)
def test_another_path_does_not_match(pattern: str, path: str) -> None:
    assert PathPattern(pattern).match(path) is None


def test_a_number_longer_than_python_reads_is_another_path() -> None:
    assert PathPattern("/{n:int}").match("/" + "1" * 5000) is None


def test_a_float_that_would_be_infinite_is_another_path() -> None:
    assert PathPattern("/{x:float}").match("/" + "9" * 400) is None


def test_segments_are_decoded_after_splitting() -> None:
    """An encoded slash belongs to the value, and does not make a segment."""
    assert PathPattern("/chat/{channel}").match("/chat/a%2Fb%20c") == {"channel": "a/b c"}
    assert PathPattern("/{a}/{b}").match("/a%2Fb") is None


def test_literal_text_is_compared_decoded() -> None:
    pattern = PathPattern("/café/{x}")
    assert pattern.match("/caf%C3%A9/1") == {"x": "1"}
    assert pattern.match("/%63af%c3%a9/1") == {"x": "1"}
    assert pattern.build(x=1) == "/caf%C3%A9/1"


@pytest.mark.parametrize("raw", ["/%FF", "/%C3", "/%ED%A0%80", "/\ud800"])
def test_what_is_not_utf_8_is_another_path(raw: str) -> None:
    assert PathPattern("/{name}").match(raw) is None


@pytest.mark.parametrize("raw", ["/..", "/.", "/%2E%2E", "/%2e", "/a%2F..%2Fb", "/..%2f..%2fetc"])
@pytest.mark.parametrize("pattern", ["/{name}", "/{name:path}"])
def test_dots_that_lead_upwards_are_never_a_value(pattern: str, raw: str) -> None:
    assert PathPattern(pattern).match(raw) is None


def test_dots_in_the_middle_of_a_spanning_path_are_no_value() -> None:
    assert PathPattern("/static/{file:path}").match("/static/../../etc/passwd") is None


@given(SEGMENT_TEXT)
@example("a/b")
@example("%2F")
@example("\x00 ?#;é€😀")
def test_what_is_built_of_a_text_is_matched_to_it(text: str) -> None:
    pattern = PathPattern("/chat/{channel}/x")
    assert pattern.match(pattern.build(channel=text)) == {"channel": text}


@given(UNICODE.filter(lambda text: {".", ".."}.isdisjoint(text.split("/"))))
@example("")
@example("/")
@example("//a/")
def test_what_is_built_of_a_spanning_text_is_matched_to_it(text: str) -> None:
    pattern = PathPattern("/{a}/files/{p:path}")
    assert pattern.match(pattern.build(a="x", p=text)) == {"a": "x", "p": text}


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.uuids())
@example(0, -0.0, UUID(int=0))
@example(-1, 5e-324, UUID(int=1))
@example(1, 1.7976931348623157e308, UUID(int=2))
def test_what_is_built_of_numbers_is_matched_to_them(n: int, x: float, u: UUID) -> None:
    pattern = PathPattern("/{n:int}/{x:float}/{u:uuid}")
    path = pattern.build(n=n, x=x, u=u)
    assert pattern.match(path) == {"n": n, "x": x, "u": u}
    assert path.isascii()


@given(st.text())
def test_matching_never_fails(raw: str) -> None:
    for pattern in ("/", "/{a}", "/{n:int}/{x:float}", "/a{b}c/{p:path}/{u:uuid}"):
        PathPattern(pattern).match(raw)
        PathPattern(pattern).match("/" + raw)


@given(st.lists(UNICODE.filter(lambda text: "/" not in text), min_size=1))
def test_a_path_without_parameters_matches_itself_only(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    assume({".", ".."}.isdisjoint(segments) and not set("{}?#%<:") & set(path))  # <name> and :name are refused
    pattern = PathPattern(path)
    assert pattern.match(quote(path)) == {}
    assert pattern.match(pattern.build()) == {}
    assert pattern.match(quote(path) + "x") is None


@pytest.mark.parametrize("value", ["", ".", "..", "../x", "a/./b"])
def test_a_text_that_no_path_can_hold_is_not_built(value: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a path"):
        PathPattern("/{name}").build(name=value)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_float_that_is_no_number_is_not_built(value: float) -> None:
    with pytest.raises(ValueError, match="cannot stand in a path"):
        PathPattern("/{x:float}").build(x=value)


def test_a_value_of_another_kind_is_not_built() -> None:
    with pytest.raises(ValueError, match="'x' cannot stand in a path"):
        PathPattern("/{n:int}").build(n="x")


def test_build_names_what_is_missing_and_what_is_too_much() -> None:
    pattern = PathPattern("/{a}/{b}")
    with pytest.raises(ValueError, match=r"'/\{a\}/\{b\}' needs b"):
        pattern.build(a=1)
    with pytest.raises(ValueError, match="has no parameter c"):
        pattern.build(a=1, b=2, c=3)


def test_an_own_converter_reads_and_writes() -> None:
    hexadecimal = Converter(regex="[0-9a-f]+", convert=lambda text: int(text, 16), format=lambda n: f"{n:x}", type=int)
    pattern = PathPattern("/{color:hex}/{name}", {"hex": hexadecimal})
    assert pattern.match("/ff/x") == {"color": 255, "name": "x"}
    assert pattern.match("/fg/x") is None
    assert pattern.build(color=255, name="x") == "/ff/x"
    assert dict(pattern.types) == {"color": int, "name": str}


def test_an_own_converter_refuses_by_value_error() -> None:
    known = {"cats": 1}

    def look_up(text: str) -> int:
        if text not in known:
            raise ValueError(text)
        return known[text]

    pattern = PathPattern("/{room:room}", {"room": Converter(regex="[a-z]+", convert=look_up)})
    assert pattern.match("/cats") == {"room": 1}
    assert pattern.match("/dogs") is None
    assert dict(pattern.types) == {"room": None}


def test_an_own_converter_may_take_the_place_of_a_built_in_one() -> None:
    assert PathPattern("/{n:int}", {"int": Converter(regex="x+", convert=len)}).match("/xxx") == {"n": 3}


def test_names_are_in_the_order_of_the_path() -> None:
    assert PathPattern("/{b}/{p:path}/{a:int}").names == ("b", "p", "a")


def test_patterns_of_one_shape_match_the_same_paths() -> None:
    assert PathPattern("/x/{a}").shape == PathPattern("/x/{b:str}").shape
    assert PathPattern("/x/{a:path}").shape == PathPattern("/x/{b:path}").shape
    shapes = ["/x/{a}", "/x/{a:int}", "/x/{a:path}", "/x/{a:path}/y", "/x/a", "/x/{a}/", "/x/@{a}", "/x/{a}@"]
    assert len({PathPattern(path).shape for path in shapes}) == len(shapes)


def test_its_representation_names_the_path() -> None:
    assert repr(PathPattern("/{a}")) == "PathPattern('/{a}')"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "begin with a slash"),
        ("chat", "begin with a slash: '/chat'"),
        ("/{a}{b}", "two parameters"),
        ("/{a}-{b}", "two parameters"),
        ("/{a}/{a}", "a name occurs twice"),
        ("/{}", "'' is no name"),
        ("/{1a}", "'1a' is no name"),
        ("/{a b}", "'a b' is no name"),
        ("/{:int}", "'' is no name"),
        ("/{a:}", "there is no converter ''"),
        ("/{a:integer}", "there is no converter 'integer', only float, int, path, str, uuid"),
        ("/{a:path}/{b:path}", "only one parameter may span"),
        ("/{a", "write parameters as"),
        ("/a}", "write parameters as"),
        ("/{{a}}", "write parameters as"),
        ("/a?b", "other text decoded"),
        ("/a#b", "other text decoded"),
        ("/a%20b", "other text decoded"),
        ("/a/../b", "clients resolve"),
        ("/./b", "clients resolve"),
    ],
)
def test_a_malformed_pattern_is_refused_with_the_fix(path: str, message: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        PathPattern(path)
    assert message in str(caught.value)
    assert repr(path) in str(caught.value)


class TestWork:
    """A path is taken apart once, and a pattern reads of it what may match."""

    def test_the_segments_are_decoded_once_for_all_routes(self, monkeypatch):
        decoded, read = [], []
        monkeypatch.setattr(
            path_module, "unquote_to_bytes", lambda text: decoded.append(text) or unquote_to_bytes(text)
        )
        app = App(converters={"seen": Converter(regex=".*", convert=lambda text: read.append(text) or text)})
        for number in range(100):
            app.websocket(f"/route{number}/{{value:seen}}/end")(lambda ws: None)
            app.websocket(f"/{{value:seen}}/x{number}")(lambda ws: None)
        app.match("/")
        decoded.clear()
        raw = "/" + "%41/" * 1000 + "%41" * 1000
        assert app.match(raw) is None
        assert "/".join(decoded) == raw
        assert read == []
        assert app.match("/%41/x99")[1] == {"value": "A"}
        assert read == ["A"]

    def test_a_span_is_joined_only_where_the_rest_matches(self):
        read = []
        spanning = Converter(regex="(?s:.*)", spans=True, convert=lambda text: read.append(len(text)) or text)
        path = segments("/a" * 4000)
        for before, after in (("/b", ""), ("", "/b"), ("/a", "/b")):
            assert PathPattern(f"{before}/{{rest:all}}{after}", {"all": spanning}).read(path) is None
        assert PathPattern("/x-{rest:all}", {"all": spanning}).read(path) is None
        assert read == []
        assert PathPattern("/a/{rest:all}/a", {"all": spanning}).read(path) is not None
        assert read == [2 * 3998 - 1]
