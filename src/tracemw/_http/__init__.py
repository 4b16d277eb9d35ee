"""What one HTTP exchange means to a trace, free of I/O and of frameworks.

Doors translate their framework's request into `RequestFacts` and tell an exchange what happened; every rule about
names, attributes, status and context stands here, once.
"""
