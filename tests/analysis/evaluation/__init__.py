"""How well the findings find: traces whose faults are known, and what `tracemw.analysis` makes of them.

    make analysis-eval

The way through:

* ``labelled``: traces with the findings that belong to them
* ``stacks``: how spans look in the tracers of several languages, in both generations of the conventions
* ``scene``: one trace, told as what happens in it
* ``healthy``: what happens when nothing is wrong
* ``injected``, ``failing``, ``unusual``: one thing is wrong with time, with a failure, or in less usual stacks
* ``fault``: one such thing, and the ordinary life around it
* ``sets``: something is wrong over many traces
* ``disturbed``: the same with clocks apart, spans missing or doubled, and two faults at a time
* ``recorded``: traces of real services, with their labels; ``recording/`` records them again
* ``scoring``: precision, recall, and the misses
* ``speed``: spans a second

What makes the traces is written from the description of the findings. It knows nothing of the code that finds.
"""
