"""What the watch tells of requests that are slow, and of the time that belongs to nobody."""
