"""The Model Context Protocol: coding agents ask what is wrong with traces. ``tracemw mcp`` runs it.

The way through this room:

* ``tools``: what an agent sees: the tools, their arguments, and what each is for
* ``checked_tool``: arguments that are refused before a tool runs
* ``questions``: an agent's question becomes TraceQL, and the traces are fetched from Tempo or from ``tracemw view``
* ``reproducing``: how to send a request like the one of a trace, without any value of it
* ``short_answers``: text of a stated length, the verdict first
* ``SKILL.md``: when to use which tool, for agents that read such files

Nothing here decides what is wrong: ``tracemw.analysis`` does, and its words are shown. Nothing here writes anywhere.

The room depends on the official SDK of the protocol (the ``mcp`` extra).
"""
