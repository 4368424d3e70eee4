"""Bytes for the fuzz targets: honest examples with a few places damaged, and anything at all."""

from collections.abc import Sequence

from hypothesis import strategies as st

SCRAPS = st.sampled_from(
    [bytes((byte,)) for byte in b'\x00\t\n\r "#%&()*+,-./0123456789:;<=>?@[\\]^_`az{|}~\x7f\x80\xff']
    + [
        b"%2e",
        b"%25",
        b"%00",
        b"?1",
        b"?0",
        b"1.5",
        b'""',
        b"()",
        b"::",
        b":YQ==:",
        b"\xc3\xbc",
        b"-1",
        b"9" * 16,
        b'\\"',
        b", a=1",
    ]
)


def damaged(examples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the examples, with up to four pieces cut out, doubled or replaced; or bytes of any kind."""

    @st.composite
    def damage(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(examples))
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(data)))
            end = draw(st.integers(start, min(len(data), start + 8)))
            middle = draw(SCRAPS | st.just(b"") | st.just(data[start:end] * 2) | st.binary(max_size=4))
            data = data[:start] + middle + data[end:]
        return data

    return st.one_of(damage(), st.lists(SCRAPS, max_size=20).map(b"".join), st.binary(max_size=60))


#: Structured fields of every kind.
FIELDS = (
    b'a=1, b=2.5;x, c=("x" y);z=:YQ==:, d, e=@1790000000, f=%"f%c3%bc", g="\\"q\\\\"',
    b'"x";a;b=?0',
    b"(1 2);a, (), token/1:2;b=*",
    b"sig1=:YWJj:, sig2=:YQ==:",
)
