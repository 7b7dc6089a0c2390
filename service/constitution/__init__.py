"""The constitution: principles in words, how a text is held against them, and what is done where that leaves doubt."""
