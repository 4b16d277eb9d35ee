"""What the process and its operating system give, whatever has been patched or forked. Standard library only.

* ``native``: threads, locks and queues of the operating system, also beneath gevent and eventlet
* ``forks``: what begins anew in a forked child, also after a fork in C
* ``interpreter``: what is asked of the interpreter: the global interpreter lock
* ``log``: lines for the operator, which raise nothing into the application
"""
