"""The markers: what they remember, and that they can stand where a value or metadata stands."""

from __future__ import annotations

from types import NoneType
from typing import Annotated, get_args

import pytest

from trio_ws.app.parameters.markers import (
    MISSING,
    Body,
    BodyMarker,
    Cookie,
    Depends,
    DependsMarker,
    Form,
    Header,
    Marker,
    Path,
    Query,
    RefusedMarker,
    ValueMarker,
    WsBody,
)


@pytest.mark.parametrize(("marker", "source"), [(Query, "query"), (Header, "header"), (Cookie, "cookie")])
def test_a_marker_of_a_value_remembers_what_it_was_given(marker: type, source: str) -> None:
    made = marker("John", alias="n", description="who")
    assert isinstance(made, ValueMarker)
    assert (made.source, made.default, made.alias, made.description) == (source, "John", "n", "who")


@pytest.mark.parametrize("marker", [Query, Header, Cookie])
def test_value_without_default_or_with_ellipsis_is_required(marker: type) -> None:
    """Without a default or with an ellipsis a value is required."""
    assert marker().default is MISSING
    assert marker(...).default is MISSING


@pytest.mark.parametrize("default", [None, "", 0, False, []])
def test_a_default_may_be_anything(default: object) -> None:
    assert Query(default).default is default


def test_a_path_parameter_has_no_default() -> None:
    made = Path(alias="room_id", description="which")
    assert (made.source, made.default, made.alias, made.description) == ("path", MISSING, "room_id", "which")


def test_depends_stores_the_callable_and_the_cache_option() -> None:
    """Depends remembers the callable and whether it is called once."""
    assert isinstance(Depends(len), DependsMarker)
    assert (Depends(len).dependency, Depends(len).use_cache) == (len, True)
    assert (Depends().dependency, Depends(len, use_cache=False).use_cache) == (None, False)


def test_a_body_may_be_described() -> None:
    assert isinstance(WsBody(), BodyMarker)
    assert WsBody(description="what").description == "what"


@pytest.mark.parametrize("marker", [Body, Form])
def test_http_body_markers_accept_any_arguments_until_refused(marker: type) -> None:
    """Markers of HTTP bodies take whatever they are given and are refused later."""
    made = marker(..., embed=True, media_type="x")
    assert isinstance(made, RefusedMarker)
    assert made.name == marker.__name__


class Unhashable:
    """A dependency that is compared by its value."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)

    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> int:
        return 1


MUTABLE = {"query": Query([]), "header": Header([]), "cookie": Cookie([]), "depends": Depends(Unhashable())}


@pytest.mark.parametrize("marker", MUTABLE.values(), ids=MUTABLE)
def test_marker_of_mutable_value_may_be_metadata_in_union(marker: Marker) -> None:
    """`Annotated` hashes its metadata there."""
    assert get_args(Annotated[int, marker] | None) == (Annotated[int, marker], NoneType)


def test_markers_are_compared_by_identity() -> None:
    """Two alternatives of a union stay two, though their markers have the same values."""
    for make in (Query, Header, Cookie, Path, Depends, WsBody, Body):
        assert len({make(), make()}) == 2
