"""What analysis found, told: the same words for commands, the viewer, agents and tests.

* ``as_json``: documents whose names are there to stay
* ``as_text``: lines for people; ``tree`` has those of a trace's spans
* ``line``: one line, and how it is shown
"""
