"""What analysis found, told: the same words for commands, the viewer, agents and tests.

* ``as_json``: documents whose names are there to stay
* ``as_text``: lines for people; ``tree`` has those of a trace's spans
* ``comparison_as_json``, ``comparison_as_text``, ``comparison_page``: the same of two sets of traces
* ``comparison_svg``: the pictures of that page
* ``line``: one line, and how it is shown
* ``explanation``: one trace as a page shows it
* ``overview``: many traces as a page shows them
* ``otlp_span``: all that one span has
* ``repeats``: children that are alike, told once
"""
