"""The digests of RFC 9530: of its examples, and its sample values."""

from typing import Any

import pytest

from sealwire.errors import Refusal
from sealwire.protocol.digest import content_digest, expect
from tests.protocol.vectors import left_out, load

FILE = "rfc9530/rfc9530_examples.json"
EXAMPLES = load(FILE)
DIGESTS = [digest for case in EXAMPLES["cases"] for digest in case["digests"]]
SAMPLES = {name: value for name, value in EXAMPLES["sample_digest_values"].items() if value.startswith(":")}
INPUT = EXAMPLES["sample_digest_values"]["input_utf8"].encode()
COUNTED = ("sha-256", "sha-512")


def judge(field: str, body: bytes) -> None:
    """Raises unless the body has the digest."""
    expected = expect(field.encode())
    expected.update(body[:3])
    expected.update(body[3:])
    expected.judge()


def test_every_case_is_run() -> None:
    """None is left out."""
    assert (len(EXAMPLES["cases"]), len(DIGESTS), len(SAMPLES)) == (18, 22, 8)
    assert left_out(FILE) == set()


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: f"{digest['field']} {digest['value'][1:9]}")
def test_digest(digest: dict[str, Any]) -> None:
    """The content has the digest printed for it, and content with one more byte has not."""
    field, body = f"{digest['algorithm']}={digest['value']}", bytes.fromhex(digest["input_hex"])
    judge(field, body)
    with pytest.raises(Refusal, match="digest-mismatch/differs"):
        judge(field, body + b"\n")
    if digest["algorithm"] == "sha-256":
        assert content_digest(body) == field.encode()


@pytest.mark.parametrize("digest", [digest for digest in DIGESTS if "as_printed" in digest])
def test_misprint(digest: dict[str, Any]) -> None:
    """A value with one = too many cannot be read."""
    with pytest.raises(Refusal, match="digest-mismatch/unreadable"):
        expect(f"{digest['algorithm']}={digest['as_printed']}".encode())


@pytest.mark.parametrize("algorithm", SAMPLES)
def test_sample(algorithm: str) -> None:
    """sha-256 and sha-512 count; any other algorithm alone does not."""
    field = f"{algorithm}={SAMPLES[algorithm]}"
    if algorithm in COUNTED:
        judge(field, INPUT)
    else:
        with pytest.raises(Refusal, match="digest-mismatch/no-algorithm"):
            judge(field, INPUT)


def test_samples_together() -> None:
    """Beside one that counts, the others count for nothing."""
    judge(", ".join(f"{name}={value}" for name, value in SAMPLES.items()), INPUT)
