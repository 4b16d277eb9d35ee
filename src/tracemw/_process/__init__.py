"""What the process and its operating system give, also after a monkey patch or a fork. Standard library only.

* `native`: threads, locks, queues and sockets of the operating system, also beneath gevent and eventlet.
* `forks`: what begins anew in a forked child, also after a fork in C.
* `interpreter`: whether the interpreter has its global lock.
* `log`: lines for the operator. They raise nothing into the application.
"""
