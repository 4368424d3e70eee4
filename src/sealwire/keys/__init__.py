"""Where private keys live, by URI: one home a file."""
