"""Takes the pictures of the documents again: `make pictures`. They are of the demo, in the browser of the tests."""

from __future__ import annotations

import base64
import struct
import tempfile
import zlib
from collections import Counter
from pathlib import Path

from playwright.sync_api import Page

from tests.house.tree import ROOT
from tests.pages.looking import DESKTOP, PHONE, Looking, Scheme, looking
from tests.pages.visiting import VALUES

PICTURES = ROOT / "docs/pictures"
#: Each picture: what is on it, the size of the screen, light or dark.
TAKEN: dict[str, tuple[str, tuple[int, int], Scheme]] = {
    "approve-phone-light.png": ("approve", PHONE, "light"),
    "approve-phone-dark.png": ("approve", PHONE, "dark"),
    "odd-characters-phone-light.png": ("odd", PHONE, "light"),
    "new-factor-phone-light.png": ("new factor", PHONE, "light"),
    "account-desktop-light.png": ("account", DESKTOP, "light"),
    "approve-desktop-dark.png": ("approve", DESKTOP, "dark"),
    "program-desktop-light.png": ("program", DESKTOP, "light"),
    "program-phone-dark.png": ("program", PHONE, "dark"),
    "new-program-phone-light.png": ("new program", PHONE, "light"),
    "new-program-phone-dark.png": ("new program", PHONE, "dark"),
}
# A right-to-left mark, and a Cyrillic letter in place of the first `a`.
ODD = (("amount", "52.0\u202e"), ("asset", "BTC"), ("address", "bc1qw508d6qejxtdg4y5r3z\u0430rvary0c5xw7k2f"))


def take(look: Looking, folder: Path) -> None:
    """All of them."""
    look.user("alice")
    denied = look.ask("alice", (("amount", "4"), *VALUES[1:]), ago=300)
    look.forget(denied, "alice")
    look.ask("alice", (("amount", "1.5"), *VALUES[1:]), ago=4000)
    made = look.dashboard("alice")
    addresses = {
        "approve": look.ask("alice"),
        "odd": look.ask("alice", ODD),
        "new factor": f"{look.pages}/factors/new",
        "account": f"{look.pages}/",
        "program": f"{look.pages}/programs/{made.id}",
        "new program": f"{look.pages}/programs/new",
    }
    for name, (what, size, scheme) in TAKEN.items():
        with look.page("alice", size, scheme) as page:
            page.goto(addresses[what])
            _shot(page, folder / name)


def _shot(page: Page, file: Path) -> None:
    drawn = page.screenshot(animations="disabled", caret="hide")
    page.goto("about:blank")  # where a picture may be read
    pixels = base64.b64decode(page.evaluate(_PIXELS, base64.b64encode(drawn).decode()))
    width, height = struct.unpack(">II", drawn[16:24])
    file.write_bytes(_with_palette(pixels, width, height))


_PIXELS = """async picture => {
  const drawn = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
  const context = new OffscreenCanvas(drawn.width, drawn.height).getContext("2d");
  context.drawImage(drawn, 0, 0);
  const read = new FileReader();
  read.readAsDataURL(new Blob([context.getImageData(0, 0, drawn.width, drawn.height).data]));
  await new Promise(done => read.onload = done);
  return read.result.split(",")[1];
}"""


def _with_palette(pixels: bytes, width: int, height: int) -> bytes:
    """A PNG of at most 256 colours, which is a third of what the browser writes; the rarest become their nearest."""
    seen = [tuple(pixels[at : at + 3]) for at in range(0, len(pixels), 4)]
    every = [colour for colour, _ in Counter(seen).most_common()]
    kept = every[:256]
    number = {colour: at for at, colour in enumerate(kept)}
    for colour in every[256:]:
        number[colour] = min(
            range(len(kept)), key=lambda at: sum(abs(a - b) for a, b in zip(kept[at], colour, strict=True))
        )
    palette = bytes(one for colour in kept for one in colour)
    lines = b"".join(
        b"\0" + bytes(number[colour] for colour in seen[at : at + width]) for at in range(0, len(seen), width)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", palette), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as made, looking(Path(made)) as shown:
        take(shown, PICTURES)
