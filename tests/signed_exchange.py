"""The exchange with no sealed route, for tests of signatures that carry a body."""

import re

from sealwire.demo.state import DemoState


def make_signed(state: DemoState) -> None:
    """Makes the demo's folder, with every route that was sealed, or waited for a person, only signed."""
    state.make()
    policy = re.sub(r'profile = "(sealed|critical)"', 'profile = "signed"', state.config.read_text("utf-8"))
    state.config.write_text(re.sub(r"(session_mac|approve) = .*\n", "", policy), "utf-8")
