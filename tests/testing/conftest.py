"""The project is run by pytest in a process of its own, and fails on purpose in part."""

collect_ignore = ["project"]
