"""
The checks, one a file: a call in, one piece of frozen evidence out, or a Refusal.

Inside each the same three beats: claim (what do they say?), fetch (one await on a port), judge (is it so?). The order
is `pipeline.py`'s; stages do not know each other.
"""
