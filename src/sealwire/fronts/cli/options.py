"""What stands before every command, and how a command says that it was asked for the wrong thing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Stable JSON instead of lines.")]


class Options(NamedTuple):
    """The options of the whole command line."""

    config: Path
    no_input: bool


class Ended(Exception):
    """A command ends here: one sentence on stderr, and the exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def wrong_usage(sentence: str) -> NoReturn:
    """Ends the command with exit code 2."""
    raise Ended(sentence, 2)


def confirmed(act: str, name: str, given: str) -> None:
    """Ends the command unless a dangerous act was confirmed by the name of what it is done to."""
    if given != name:
        wrong_usage(f"{act}, for ever; to do it, say --confirm={name}")
