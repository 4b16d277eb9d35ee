"""What tracing goes wrong with, seen in the source code before anybody runs it. ``tracemw lint`` shows it.

The way through this room:

* ``codes``: every code, with its sentence and its remedy
* ``source``: a file as the rules see it: names resolved to what was imported, each node with its parent
* ``rules/``: one module per family of codes
* ``applications``: which applications of many files never get a middleware
* ``linting``: files are found, read and checked
* ``lint_settings``: ``[tool.tracemw]`` of pyproject.toml, and ``# noqa``
* ``reports``: text, JSON, SARIF, and annotations of GitHub
* ``flake8_plugin``: the same rules for flake8

The rules read source code only: nothing is imported or run. They say something only where a file itself shows it, since
a linter that is wrong is switched off.
"""
