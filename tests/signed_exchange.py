"""The exchange with no sealed route, for tests of signatures that carry a body."""

from sealwire.demo.state import DemoState


def make_signed(state: DemoState) -> None:
    """Makes the demo's folder, with every route that was sealed only signed."""
    state.make()
    policy = state.config.read_text("utf-8").replace('profile = "sealed"', 'profile = "signed"')
    state.config.write_text(policy.replace("session_mac = true\n", ""), "utf-8")
