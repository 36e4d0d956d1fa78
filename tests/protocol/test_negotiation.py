"""Sec-WebSocket-Extensions: the grammar, and who agrees to what in permessage-deflate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate

from trio_ws.config import Compression
from trio_ws.errors import RemoteProtocolError
from trio_ws.protocol.negotiation import (
    DeflateSettings,
    ExtensionSyntaxError,
    accept_offer,
    check_response,
    make_offer,
    parse_extensions,
)
from trio_ws.testing.strategies import compressions

# Everything kept, the largest windows: what is agreed then is what the peer said.
GENEROUS = Compression(send_context=True, receive_context=True, send_window_bits=15, receive_window_bits=15)
NO_CONTEXT = "server_no_context_takeover; client_no_context_takeover"

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcXYZ"
TOKENS = st.text(TOKEN_CHARACTERS, min_size=1, max_size=8)
SPACES = st.text(" \t", max_size=3)
# Text that comes near to being a header.
HEADERS = st.lists(
    st.sampled_from(
        [
            "permessage-deflate",
            "server_no_context_takeover",
            "client_no_context_takeover",
            "server_max_window_bits",
            "client_max_window_bits",
            *("=8", "=9", '="10"', "=12", "=15", "=16", "=08", "=", ";", "; ", ", ", ",", " ", '"', "\\", "x", "é"),
        ]
    ),
    max_size=12,
).map("".join)


def windows_and_contexts(settings: DeflateSettings) -> tuple[int, bool, int, bool]:
    return (
        settings.send_window_bits,
        settings.send_context,
        settings.receive_window_bits,
        settings.receive_context,
    )


class TestParsing:
    """RFC 6455 9.1."""

    @pytest.mark.parametrize(
        ("header", "parsed"),
        [
            ("foo", [("foo", [])]),
            ("foo, bar; baz=2", [("foo", []), ("bar", [("baz", "2")])]),
            ("deflate-stream", [("deflate-stream", [])]),
            ("mux; max-channels=4; flow-control", [("mux", [("max-channels", "4"), ("flow-control", None)])]),
            ('private; v="one"', [("private", [("v", "one")])]),
            (r'private; v="o\n\e"', [("private", [("v", "one")])]),
            ("foo;a,foo;a=1;a=2", [("foo", [("a", None)]), ("foo", [("a", "1"), ("a", "2")])]),
            (" \tfoo \t;\t a\t= 1 \t,\tbar ", [("foo", [("a", "1")]), ("bar", [])]),
            (", foo,, ,bar,", [("foo", []), ("bar", [])]),
            ("", []),
            (" , ,\t", []),
        ],
    )
    def test_what_the_grammar_allows(self, header: str, parsed: Any) -> None:
        assert parse_extensions(header) == parsed

    @pytest.mark.parametrize(
        "header",
        [
            *[
                "foo bar",
                "foo;",
                "foo; ",
                ";foo",
                "foo;;a",
                "foo; =1",
                "foo; a=",
                "foo; a=,b",
                "foo=1",
                "=",
                "/",
            ],
            *['foo; a="', 'foo; a="1', 'foo; a=1"', 'foo; a="1"2', 'foo; a="1\\"', '"foo"', 'foo; "a"=1'],
            *['foo; a=""', 'foo; a="1 2"', 'foo; a="1,2"', 'foo; a="1;2"', r'foo; a="\""', 'foo; a="é"'],
            *[
                "foo\r\n bar",
                "foo\n",
                "foo; a=1\n",
                "\nfoo",
                "fo\0o",
                "foo\x0b",
                "foo\xa0",
                "f\u00f6\u00f6",
                "foo; a={1}",
            ],
        ],
    )
    def test_what_it_does_not(self, header: str) -> None:
        with pytest.raises(ExtensionSyntaxError):
            parse_extensions(header)

    def test_the_error_says_where(self) -> None:
        with pytest.raises(ExtensionSyntaxError, match=r"unexpected '/' at character 5"):
            parse_extensions("foo,/")

    @given(st.data())
    def test_whatever_is_written_by_the_grammar_is_read_again(self, data: st.DataObject) -> None:
        """White space between any two words, values bare or quoted, characters in quotes escaped or not."""

        def space() -> str:
            return data.draw(SPACES)

        def written(value: str) -> str:
            if data.draw(st.booleans()):
                return value
            return '"' + "".join(data.draw(st.sampled_from(["", "\\"])) + letter for letter in value) + '"'

        extensions = data.draw(
            st.lists(st.tuples(TOKENS, st.lists(st.tuples(TOKENS, st.none() | TOKENS), max_size=3)), max_size=3)
        )
        elements = []
        for name, parameters in extensions:
            words = space() + name + space()
            for key, value in parameters:
                words += ";" + space() + key + space()
                words += "" if value is None else "=" + space() + written(value) + space()
            elements.append(words)
        assert parse_extensions(",".join(elements)) == extensions

    @given(st.text() | st.text(TOKEN_CHARACTERS + ' \t;,="\\\n/', max_size=40) | HEADERS)
    def test_arbitrary_text_raises_nothing_else(self, text: str) -> None:
        try:
            parse_extensions(text)
        except ExtensionSyntaxError:
            pass

    @pytest.mark.slow
    def test_a_long_header_takes_no_longer_than_its_length(self) -> None:
        """Would take minutes if any of it were read again and again."""
        for header in (
            'a;b="' + "\\" * 200_001,
            "a;" * 100_000,
            "a" + " " * 200_000 + "/",
            "a;b" + " " * 200_000 + "/",
        ):
            with pytest.raises(ExtensionSyntaxError):
                parse_extensions(header)
        assert len(parse_extensions("a;b=1," * 50_000)) == 50_000


class TestAcceptingAnOffer:
    """The server's side: RFC 7692 5.1, 7.1."""

    @pytest.mark.parametrize(
        ("offer", "answer", "agreed"),
        [
            ("", "", (15, True, 15, True)),
            ("; client_max_window_bits", "", (15, True, 15, True)),
            ("; client_max_window_bits=15", "", (15, True, 15, True)),
            ("; client_max_window_bits=10", "; client_max_window_bits=10", (15, True, 10, True)),
            ('; client_max_window_bits="10"', "; client_max_window_bits=10", (15, True, 10, True)),
            ("; client_max_window_bits=8", "; client_max_window_bits=8", (15, True, 8, True)),
            ("; server_max_window_bits=15", "; server_max_window_bits=15", (15, True, 15, True)),
            ("; server_max_window_bits=9", "; server_max_window_bits=9", (9, True, 15, True)),
            ("; server_max_window_bits=8", "; server_max_window_bits=8", (8, True, 15, True)),
            ("; server_no_context_takeover", "; server_no_context_takeover", (15, False, 15, True)),
            ("; client_no_context_takeover", "; client_no_context_takeover", (15, True, 15, False)),
            (
                "; client_max_window_bits=11; client_no_context_takeover"
                "; server_no_context_takeover; server_max_window_bits=12",
                f"; {NO_CONTEXT}; server_max_window_bits=12; client_max_window_bits=11",
                (12, False, 11, False),
            ),
        ],
    )
    def test_every_parameter_is_taken_up(self, offer: str, answer: str, agreed: Any) -> None:
        accepted = accept_offer("permessage-deflate" + offer, GENEROUS)
        assert accepted is not None
        assert accepted[0] == "permessage-deflate" + answer
        assert windows_and_contexts(accepted[1]) == agreed

    @pytest.mark.parametrize(
        ("offer", "answer", "agreed"),
        [
            ("", "; server_no_context_takeover", (12, False, 15, True)),
            ("; client_max_window_bits", "; server_no_context_takeover", (12, False, 15, True)),
            (
                "; server_max_window_bits=15",
                "; server_no_context_takeover; server_max_window_bits=12",
                (12, False, 15, True),
            ),
            (
                "; server_max_window_bits=10",
                "; server_no_context_takeover; server_max_window_bits=10",
                (10, False, 15, True),
            ),
            ("; client_no_context_takeover", f"; {NO_CONTEXT}", (12, False, 15, False)),
        ],
    )
    def test_by_default_only_the_peer_may_keep_a_context(self, offer: str, answer: str, agreed: Any) -> None:
        accepted = accept_offer("permessage-deflate" + offer, Compression())
        assert accepted is not None
        assert accepted[0] == "permessage-deflate" + answer
        assert windows_and_contexts(accepted[1]) == agreed

    @pytest.mark.parametrize(
        ("offer", "answer", "receive_window_bits"),
        [
            ("", "", 15),
            ("; client_max_window_bits", "; client_max_window_bits=10", 10),
            ("; client_max_window_bits=12", "; client_max_window_bits=10", 10),
            ("; client_max_window_bits=9", "; client_max_window_bits=9", 9),
        ],
    )
    def test_smaller_window_is_requested_only_if_client_allows_it(
        self, offer: str, answer: str, receive_window_bits: int
    ) -> None:
        """A smaller window is asked for only where the client can be asked."""
        compression = Compression(send_context=True, receive_context=True, receive_window_bits=10)
        accepted = accept_offer("permessage-deflate" + offer, compression)
        assert accepted is not None
        assert accepted[0] == "permessage-deflate" + answer
        assert accepted[1].receive_window_bits == receive_window_bits

    @pytest.mark.parametrize(
        "parameters",
        [
            "foo",
            "foo=1",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_max_window_bits",
            *[f"server_max_window_bits={value}" for value in ("7", "16", "08", "-9", "1e1", "0", "x", "100000000")],
            *[f"client_max_window_bits={value}" for value in ("7", "16", "010", '"1\\7"', "+9", "9.0")],
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits; client_max_window_bits=10",
            "Server_Max_Window_Bits=10",
        ],
    )
    def test_an_offer_with_bad_parameters_is_declined(self, parameters: str) -> None:
        assert accept_offer(f"permessage-deflate; {parameters}", GENEROUS) is None
        accepted = accept_offer(f"permessage-deflate; {parameters}, permessage-deflate", GENEROUS)
        assert accepted is not None
        assert accepted[0] == "permessage-deflate"

    def test_first_good_offer_is_taken_and_unknown_ones_skipped(self) -> None:
        """The first good offer is taken and unknown extensions are skipped."""
        accepted = accept_offer(
            "x-webkit-deflate-frame, mux; max=4, permessage-deflate; server_max_window_bits=99,"
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            GENEROUS,
        )
        assert accepted is not None
        assert accepted[0] == "permessage-deflate; server_max_window_bits=10"

    @pytest.mark.parametrize("header", ["", "x-webkit-deflate-frame", "permessage-bzip2", "Permessage-Deflate"])
    def test_without_an_offer_of_ours_there_is_nothing_to_accept(self, header: str) -> None:
        assert accept_offer(header, GENEROUS) is None

    def test_a_malformed_header_is_an_error_even_after_a_good_offer(self) -> None:
        with pytest.raises(ExtensionSyntaxError):
            accept_offer("permessage-deflate, foo bar", GENEROUS)

    def test_level_and_threshold_are_ours(self) -> None:
        accepted = accept_offer("permessage-deflate", Compression(level=3, threshold=99))
        assert accepted is not None
        assert (accepted[1].level, accepted[1].threshold) == (3, 99)

    @given(HEADERS | HEADERS.map("permessage-deflate; {}".format) | st.text(), compressions())
    def test_arbitrary_headers_raise_only_extension_syntax_error(self, header: str, compression: Compression) -> None:
        """Arbitrary headers raise nothing else and answers can be read."""
        try:
            accepted = accept_offer(header, compression)
        except ExtensionSyntaxError:
            return
        if accepted is not None:
            [(name, parameters)] = parse_extensions(accepted[0])
            assert name == "permessage-deflate"
            assert len(dict(parameters)) == len(parameters)


class TestOffering:
    """The client's side: RFC 7692 5.1, 7.1."""

    @pytest.mark.parametrize(
        ("compression", "offer"),
        [
            (Compression(), "; client_no_context_takeover; client_max_window_bits=12"),
            (Compression(receive_context=False), f"; {NO_CONTEXT}; client_max_window_bits=12"),
            (GENEROUS, "; client_max_window_bits"),
            (
                Compression(send_context=True, receive_context=False, receive_window_bits=10, send_window_bits=9),
                "; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=9",
            ),
            (
                Compression(receive_context=True, send_window_bits=15),
                "; client_no_context_takeover; client_max_window_bits",
            ),
        ],
    )
    def test_the_offer_says_what_we_want(self, compression: Compression, offer: str) -> None:
        assert make_offer(compression) == "permessage-deflate" + offer

    @pytest.mark.parametrize(
        ("answer", "agreed"),
        [
            ("", (15, True, 15, True)),
            ("; client_max_window_bits=10", (10, True, 15, True)),
            ("; client_max_window_bits=8", (8, True, 15, True)),
            ("; server_max_window_bits=9", (15, True, 9, True)),
            ("; server_max_window_bits=8", (15, True, 8, True)),
            ('; server_max_window_bits="15"', (15, True, 15, True)),
            ("; client_no_context_takeover", (15, False, 15, True)),
            ("; server_no_context_takeover", (15, True, 15, False)),
            (
                f"; server_max_window_bits=14; {NO_CONTEXT}; client_max_window_bits=13",
                (13, False, 14, False),
            ),
        ],
    )
    def test_every_parameter_of_an_answer_is_obeyed(self, answer: str, agreed: Any) -> None:
        settings = check_response("permessage-deflate" + answer, GENEROUS)
        assert settings is not None
        assert windows_and_contexts(settings) == agreed

    @pytest.mark.parametrize("header", ["", " ", ","])
    def test_no_answer_means_no_compression(self, header: str) -> None:
        assert check_response(header, Compression()) is None

    def test_client_keeps_no_send_context_though_server_allows_it(self) -> None:
        """We keep no context to send although the server would let us."""
        settings = check_response("permessage-deflate; server_no_context_takeover", Compression())
        assert settings is not None
        assert windows_and_contexts(settings) == (12, False, 15, False)

    @pytest.mark.parametrize(
        ("answer", "problem"),
        [
            ("permessage-deflate;", "unexpected ';' at character 19"),
            ("foo", "not offered"),
            ("permessage-deflate, foo", "not offered"),
            ("permessage-deflate, permessage-deflate", "or one twice"),
            ("permessage-deflate; foo", "foo is not a parameter of an answer"),
            ("permessage-deflate; client_max_window_bits", "is not a parameter of an answer"),
            ("permessage-deflate; server_max_window_bits", "is not a parameter of an answer"),
            ("permessage-deflate; server_max_window_bits=16", "bits=16 is not a parameter of an answer"),
            ("permessage-deflate; client_max_window_bits=7", "bits=7 is not a parameter of an answer"),
            (
                "permessage-deflate; client_no_context_takeover=0",
                "takeover=0 is not a parameter of an answer",
            ),
            ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", "occurs twice"),
            ("permessage-deflate; " + "x" * 8000, "x{80} is not a parameter"),
        ],
    )
    def test_an_answer_that_cannot_be_right_is_an_error(self, answer: str, problem: str) -> None:
        with pytest.raises(RemoteProtocolError, match=problem) as caught:
            check_response(answer, GENEROUS)
        assert len(str(caught.value)) < 200

    @pytest.mark.parametrize(
        ("compression", "answer", "problem"),
        [
            (
                Compression(receive_context=True, receive_window_bits=10),
                "; server_max_window_bits=11",
                "server_max_window_bits is more than we asked for",
            ),
            (
                Compression(receive_context=True, send_window_bits=10),
                "; client_max_window_bits=11",
                "client_max_window_bits is more than we offered",
            ),
        ],
    )
    def test_an_answer_that_does_not_fit_the_offer_is_an_error(
        self, compression: Compression, answer: str, problem: str
    ) -> None:
        with pytest.raises(RemoteProtocolError, match=problem):
            check_response("permessage-deflate" + answer, compression)

    @pytest.mark.parametrize(
        ("answer", "agreed"),
        [
            ("", (12, False, 15, True)),
            ("; server_no_context_takeover", (12, False, 15, False)),
            ("; server_max_window_bits=10", (12, False, 10, True)),
        ],
    )
    def test_an_answer_that_omits_our_demands_is_put_up_with(self, answer: str, agreed: Any) -> None:
        """What the server does not say it will keep to is not relied on."""
        compression = Compression(receive_context=False, receive_window_bits=10)
        settings = check_response("permessage-deflate" + answer, compression)
        assert settings is not None
        assert windows_and_contexts(settings) == agreed

    @given(HEADERS | HEADERS.map("permessage-deflate; {}".format) | st.text(), compressions())
    def test_arbitrary_answers_raise_nothing_else(self, header: str, compression: Compression) -> None:
        try:
            settings = check_response(header, compression)
        except RemoteProtocolError:
            return
        if settings is not None:
            assert settings.send_window_bits <= compression.send_window_bits
            assert settings.receive_window_bits in (15, *range(8, compression.receive_window_bits + 1))
            assert settings.send_context <= compression.send_context


class TestBothSides:
    @given(compressions(), compressions(), st.lists(st.binary(max_size=300), max_size=3))
    def test_our_client_and_our_server_agree_and_read_each_other(
        self, ours: Compression, theirs: Compression, messages: list[bytes]
    ) -> None:
        accepted = accept_offer(make_offer(ours), theirs)
        assert accepted is not None
        answer, server = accepted
        client = check_response(answer, ours)
        assert client is not None
        for sender, receiver in ((client, server), (server, client)):
            assert sender.send_window_bits <= receiver.receive_window_bits
            assert sender.send_context <= receiver.receive_context
            deflater, inflater = sender.deflater(), receiver.inflater()
            assert deflater.threshold == sender.threshold
            for message in messages:
                assert inflater.inflate(deflater.deflate(message, final=True), final=True, limit=300) == message

    @given(compressions())
    def test_wsproto_as_the_server(self, compression: Compression) -> None:
        oracle = PerMessageDeflate()
        parameters = oracle.accept(make_offer(compression))
        assert isinstance(parameters, str)
        settings = check_response(f"permessage-deflate; {parameters}", compression)
        assert settings is not None
        assert settings.send_window_bits == oracle.client_max_window_bits
        assert settings.receive_window_bits == oracle.server_max_window_bits
        assert settings.send_context == (not oracle.client_no_context_takeover)
        assert settings.receive_context == (not oracle.server_no_context_takeover)

    @given(
        compression=compressions(),
        no_contexts=st.tuples(st.booleans(), st.booleans()),
        windows=st.tuples(st.integers(9, 15), st.integers(9, 15)),
    )
    def test_wsproto_as_the_client(
        self, compression: Compression, no_contexts: tuple[bool, bool], windows: tuple[int, int]
    ) -> None:
        """It always offers both windows, so the answer says everything."""
        oracle = PerMessageDeflate(no_contexts[0], windows[0], no_contexts[1], windows[1])
        accepted = accept_offer(f"permessage-deflate; {oracle.offer()}", compression)
        assert accepted is not None
        answer, settings = accepted
        oracle.finalize(answer)
        assert settings.send_window_bits == oracle.server_max_window_bits <= windows[1]
        assert settings.receive_window_bits == oracle.client_max_window_bits <= windows[0]
        assert settings.send_context == (not oracle.server_no_context_takeover)
        assert settings.receive_context == (not oracle.client_no_context_takeover)
