"""Where state lives, one technology a file. Adapters share no base class: each is native to its store."""
