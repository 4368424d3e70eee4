"""The command line: words for what `sealwire.Admin` and the client do. Data to stdout, words to stderr."""
