"""How large a file may grow, how deep a folder may lie, and what nothing is called."""

from pathlib import Path

from tests.house.tree import SRC, name, source_files

AIM, STOP, STAGE = 200, 400, 80

# Files past the aim, each with the reason why it is one idea nevertheless. Nothing is allowed past STOP.
LARGE: dict[str, str] = {
    "src/sealwire/call.py": "every piece of evidence on one page",
    "src/sealwire/admin.py": "every act of an operator, one method each",
    "src/sealwire/status.py": "everything that is looked at, and what counts as wrong",
    "src/sealwire/clients.py": "what is done about programs that call, and what counts as giving one more",
    "src/sealwire/guard.py": "one call's ten steps, deciding and recording in one place",
    "src/sealwire/ports/__init__.py": "all that is asked of the world for a call, on one page",
    "src/sealwire/pages/door.py": "one way in and out: who visits, from where a form came, how a page goes out",
    "src/sealwire/pages/programs.py": "each form of a user's own programs, with what it needs, side by side",
    "src/sealwire/presence.py": "how a person shows to be there: each code judged once, each change of factors told",
    "src/sealwire/demo/state.py": "one folder: its policy, its certificates, its users",
    "src/sealwire/demo/tour.py": "one tour, read from top to bottom",
    "src/sealwire/stores/sqlite_approvals.py": "every step of an approval as one transaction, side by side",
    "src/sealwire/demo/books.py": "one ledger: its tables and every move between accounts",
    "src/sealwire/demo/exchange.py": "an app as anyone would write it, read from top to bottom",
    "src/sealwire/fronts/cli/clients.py": "every command about a client, from the invitation that makes it to its end",
    "src/sealwire/fronts/asgi.py": "one door: what the app sees of a call, and what of its messages is the reply",
    "src/sealwire/fronts/connections.py": "one table: the caps, who goes first past them, what is said of it",
    "src/sealwire/fronts/serve.py": "one process that serves: its app found, wired, held alone, its metrics exposed",
    "src/sealwire/fronts/server.py": "one connection: what it lets through, when that is due, how a reply leaves",
    "src/sealwire/stores/sqlite_directory.py": "every move of a client, its keys and invitations as one transaction",
    "src/sealwire/stores/memory_durable.py": "the durable ports of one process, which act on each other",
    "src/sealwire/stores/sqlite_file.py": "one file's life: made, migrated, read, written by one thread",
    "src/sealwire/build.py": "the one file that knows rooms and adapters, from settings to a wired guard",
    "src/sealwire/pipeline.py": "the page: what is earned, what is demanded, in which order, and by which stages",
    "src/sealwire/config/rules.py": "one rule: its settings, its mistakes, and what the guard makes of it",
    "src/sealwire/config/settings.py": "every other setting with its default and what it may not say",
    "src/sealwire/errors.py": "one table: whoever reads a code finds its meaning and its remedy beside it",
    "src/sealwire/client/errors.py": "one tree: whoever catches one sees beside it what the others mean",
    "src/sealwire/protocol/fields.py": "one grammar, read and written side by side",
    "src/sealwire/protocol/handshake.py": "one handshake: the four kems, its context and its key schedule side by side",
    "src/sealwire/protocol/jwk.py": "one table of key kinds, with what may be enrolled and which algorithm it fixes",
    "src/sealwire/protocol/message.py": "the one reading of a target, which a second file would make two",
    "src/sealwire/protocol/profile.py": "the quick and the general reading of one form, which must agree",
    "src/sealwire/protocol/signature.py": "one RFC, its derived components and parameters in its own order",
}

# Names that say nothing about what is inside.
EMPTY_NAMES = {"common", "helper", "helpers", "manager", "managers", "service", "services", "util", "utils"}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_past_the_stop() -> None:
    assert {name(p): lines(p) for p in source_files() if lines(p) > STOP} == {}


def test_a_file_past_the_aim_has_its_reason() -> None:
    past = {name(p) for p in source_files() if lines(p) > AIM}
    assert past - set(LARGE) == set(), f"split it, or give its reason in LARGE (aim {AIM} lines)"
    assert set(LARGE) - past == set(), "these are small again: take them out of LARGE"
    assert all(reason.strip() for reason in LARGE.values())


def test_a_stage_fits_on_a_page() -> None:
    assert {name(p): lines(p) for p in source_files() if p.parent == SRC / "stages" and lines(p) > STAGE} == {}


def test_no_name_is_empty() -> None:
    parts = {
        name(p): {part.removesuffix(".py").strip("_") for part in p.relative_to(SRC).parts} for p in source_files()
    }
    assert [path for path, words in parts.items() if words & EMPTY_NAMES] == []


def test_folders_are_two_deep_at_most() -> None:
    assert [name(p) for p in source_files() if len(p.relative_to(SRC).parent.parts) > 2] == []
