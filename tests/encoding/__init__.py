"""The encoder's bytes say what the official encoder's say, and it takes what that one fails on."""
