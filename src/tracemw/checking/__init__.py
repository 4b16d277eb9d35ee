"""Whether every request of an application is traced, and every client hands the trace on. ``tracemw check`` shows it.

The application is imported in a process of its own, and gets a request as a server would send it. So what is told has
been seen, whatever the source looks like. The request has a method and a path that nobody serves: no handler runs. All
that is recorded stays in that process.

The way through this room:

* ``report_of``: starts that process, and takes its document
* ``check_application``: what that process does, from the import to the document
* ``target``: `shop.main:app` and its like -> the application
* ``asking``, ``lifespan``: one request, and the application's startup, as servers send them
* ``layers``: what a request has passed, from the frames on the stack
* ``requests_traced``: what is wrong, from what has been seen of the request
* ``skipping``: whether `skip=` leaves anything to trace
* ``reachable``: the clients that the application's modules have
* ``calls_traced``: which of them hand no trace on
* ``errors_told``: what exceptions say, without secrets
* ``where_made``: the file and line where something is made
* ``problems``: what is told, and the document of it

No door is imported: an application that has one has imported it.
"""
