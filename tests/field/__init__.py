"""What needs a foreign server or library: the faults that users of these would meet."""
