"""
What every test shares: the two lengths of the property tests.

`quick` runs with everything else and draws the same examples each time. `long` is for `make fuzz`: many examples, and
new ones each time. A property test sets no number of examples of its own, or the profiles would not reach it.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("quick", max_examples=100, derandomize=True, deadline=None, database=None)
settings.register_profile(
    "long", max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")
