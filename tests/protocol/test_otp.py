"""One-time codes: the vectors of RFC 4226 and 6238, and which code counts when."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.otp import ALGORITHMS, DIGITS, LOOK_AHEAD, SECRET_BYTES, STEP_SECONDS, Seed, plain, steps
from tests.protocol.vectors import FOLDER, left_out

HOTP_FILE, TOTP_FILE = "otp/rfc-4226.txt", "otp/rfc-6238.txt"
SECRET = b"12345678901234567890"
NOW = 1_790_000_010.0  # a step begins here
STEP = 1_790_000_010 // 30


def cases(file: str) -> list[dict[str, str]]:
    """The vectors of a file: blocks of NAME = VALUE."""
    blocks: list[dict[str, str]] = []
    for line in (FOLDER / file).read_text(encoding="ascii").splitlines():
        name, equals, value = line.partition(" = ")
        if name == "COUNT":
            blocks.append({})
        if equals:
            blocks[-1][name] = value
    return blocks


HOTP, TOTP = cases(HOTP_FILE), cases(TOTP_FILE)


def test_every_case_is_run() -> None:
    """None is left out."""
    assert (len(HOTP), len(TOTP)) == (10, 18)
    assert left_out(HOTP_FILE) == left_out(TOTP_FILE) == set()


@pytest.mark.parametrize("case", HOTP, ids=lambda case: case["COUNTER"])
def test_rfc_4226(case: dict[str, str]) -> None:
    """The code of a counter, and the counter of a code."""
    seed, counter = Seed(case["SECRET"].encode()), int(case["COUNTER"])
    assert seed.code(counter) == case["HOTP"]
    assert seed.find(case["HOTP"], 0, LOOK_AHEAD) == counter
    assert seed.find(case["HOTP"], counter + 1, counter + LOOK_AHEAD) is None


@pytest.mark.parametrize("case", TOTP, ids=lambda case: f"{case['MODE']} {case['TIME']}")
def test_rfc_6238(case: dict[str, str]) -> None:
    """The code of a second, for each of the three hashes; it counts then, and under no other hash."""
    _, step = steps(float(case["TIME"]), 0)
    seed = Seed(case["SECRET"].encode(), case["MODE"], 8)
    assert seed.code(step) == case["TOTP"]
    assert seed.find(case["TOTP"], *steps(float(case["TIME"]), 0)) == step
    for other in set(ALGORITHMS) - {case["MODE"]}:
        assert Seed(case["SECRET"].encode(), other, 8).find(case["TOTP"], step, step) is None


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_other_lengths(algorithm: str, digits: int) -> None:
    """A shorter code is the end of the longer one (RFC 4226 section 5.3), and each length takes its own alone."""
    codes = {count: Seed(SECRET, algorithm, count).code(STEP) for count in DIGITS}
    assert codes[digits] == codes[8][-digits:]
    assert [count for count in DIGITS if Seed(SECRET, algorithm, digits).find(codes[count], STEP, STEP)] == [digits]


@pytest.mark.parametrize(
    ("secret", "algorithm", "digits"),
    [
        (SECRET, "MD5", 6),
        (SECRET, "sha1", 6),
        (SECRET, "", 6),
        (SECRET, "SHA1", 5),
        (SECRET, "SHA1", 9),
        (b"s" * 15, "SHA1", 6),
        (b"", "SHA1", 6),
    ],
)
def test_parameters_of_no_seed(secret: bytes, algorithm: str, digits: int) -> None:
    """Another hash, another length, under 128 bits: none, and the words show no secret."""
    with pytest.raises(ValueError, match="6 to 8 digits, and at least 128 bits") as raised:
        Seed(secret, algorithm, digits)
    assert SECRET.decode() not in str(raised.value)


def test_a_seed_shows_nothing() -> None:
    """128 bits are enough, 160 are ours; neither `repr` nor `str` of a seed has them."""
    assert SECRET_BYTES == 20
    seed = Seed(b"0123456789abcdef")
    assert seed.digits == 6
    assert "0123456789abcdef" not in repr(seed) + str(seed)


# --- what is typed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["755224", "755 224", " 75-52-24 ", "7 5 5 2 2 4", "-755224-"])
def test_as_people_type(typed: str) -> None:
    """Spaces and dashes are no part of a code."""
    assert plain(typed) == "755224"
    assert Seed(SECRET).find(typed, 0, 0) == 0


@pytest.mark.parametrize(
    "typed",
    [
        "７５５２２４",  # full-width digits, which `str.isdigit` and `int` take
        "75522４",
        "٧٥٥٢٢٤",
        "755224\n",
        "755\t224",
        "755\u00a0224",
        "75522",
        "755224755",
        "0x755224",
        "+755224",
        "755224.0",
        "",
        " - ",
    ],
)
def test_no_code(typed: str) -> None:
    """Other digits are other characters (J3), and what is no code is found at no counter."""
    assert plain(typed) == ""
    assert Seed(SECRET).find(typed, 0, 20) is None


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=12))
def test_whatever_is_typed(typed: str) -> None:
    """Digits of ASCII or nothing; never an error."""
    code = plain(typed)
    assert code == "" or (code.isascii() and code.isdigit() and 6 <= len(code) <= 8)
    assert Seed(SECRET).find(typed, 0, 0) in (None, 0)


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "grace", "first"),
    [
        (0, 10, -1),
        (9.999, 10, -1),
        (10, 10, 0),
        (29.999, 10, 0),
        (0, 0, 0),
        (0.001, 0, 0),
        (29.999, 0, 0),
        (0.999, 1, -1),
        (1, 1, 0),
        (29.999, 30, -1),
    ],
)
def test_the_steps_that_count(after: float, grace: int, first: int) -> None:
    """The current step always, the previous one for so long, and never the next."""
    assert NOW % STEP_SECONDS == 0
    assert steps(NOW + after, grace) == (STEP + first, STEP)


@given(st.floats(min_value=0, max_value=1e11), st.integers(0, STEP_SECONDS))
def test_never_the_next_step(now: float, grace: int) -> None:
    """Whatever the second and the grace: two steps at the most, and the last one has begun."""
    first, last = steps(now, grace)
    assert last - 1 <= first <= last
    assert last * STEP_SECONDS <= now < (last + 1) * STEP_SECONDS


def test_codes_of_the_steps() -> None:
    """J3: the next step's code, the previous one's behind its grace, and one before that count nowhere."""
    seed = Seed(SECRET)
    for after, grace, counting in ((9.999, 10, [-1, 0]), (10, 10, [0]), (0, 0, [0]), (29.999, 10, [0])):
        found = [step for step in range(-3, 4) if seed.find(seed.code(STEP + step), *steps(NOW + after, grace))]
        assert found == counting


def test_found_within_its_bounds() -> None:
    """Both ends count, nothing outside; the first of two that are alike; no counter before 0; nowhere in none."""
    seed = Seed(SECRET)
    for counter, found in ((4, None), (5, 5), (15, 15), (16, None)):
        assert seed.find(seed.code(counter), 5, 5 + LOOK_AHEAD) == found
    assert seed.find(seed.code(0), -3, 0) == 0
    assert seed.find(seed.code(0), 1, 0) is None
    codes = [seed.code(counter) for counter in range(3000)]
    first, again = next((codes.index(code), at) for at, code in enumerate(codes) if codes.index(code) != at)
    assert seed.find(codes[again], 0, again) == first
    assert seed.find(codes[again], first + 1, again) == again


def test_every_counter_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it takes says nothing of where the code stands: all are compared, in constant time each."""
    compared = []
    compare = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr("sealwire.protocol.otp.hmac.compare_digest", counting)
    seed = Seed(SECRET)
    for counter in (0, 5, LOOK_AHEAD, LOOK_AHEAD + 1):
        compared.clear()
        seed.find(seed.code(counter), 0, LOOK_AHEAD)
        assert len(compared) == LOOK_AHEAD + 1
