"""Three incidents: the faults that `make demo INCIDENT=...` puts into the example services.

A service that has a module of its name in the folder of an incident runs that one, in place of the one that works. A
comment marks the line with the fault.
"""
