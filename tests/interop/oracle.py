"""What libraries in Node say of single values; the script and its packages lie beside the foreign callers."""

import json
import subprocess
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "node"


def opinions(*asked: tuple[object, ...]) -> list[Any]:
    """One answer for each [what, ...arguments] of opinion.mjs, in the same order."""
    ended = subprocess.run(
        ["node", "opinion.mjs"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=_FOLDER,
    )
    assert ended.returncode == 0, ended.stderr
    answers: list[Any] = json.loads(ended.stdout)
    assert len(answers) == len(asked)
    return answers
