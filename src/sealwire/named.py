"""
What a setting names as `module:name` of the operator's own code: the app, how its users sign in, where they get mail.

Owns: where such code is looked for, and the one line that a mistake gets. Refuses to know: what it is for.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from sealwire.errors import Misuse


def find(folder: Path, setting: str, name: str) -> Any:
    """
    What `name` names, from the folder of the policy file or the installed packages.

    Raises: Misuse, which names the setting.
    """
    module, _, member = name.partition(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return getattr(importlib.import_module(module), member)
    except (ImportError, AttributeError) as why:
        raise Misuse(f'{setting} = "{name}": {why}') from None
