"""A small crypto exchange as a plain app that knows nothing of its guard, with its policy and the tour."""
