"""The traces of a user, found under every key and erased where they are: what ``tracemw forget`` does.

The way through this room:

* ``user_query``: the pseudonyms of users, and the query that finds their traces
* ``windows``: times to look at, as long as one search may cover
* ``seeking``: the traces that a search finds, and those that are still there
* ``in_viewer``, ``in_tempo``: the two places that traces are erased in; ``redaction_service`` is Tempo's
* ``until_gone``: erase, and look again until nothing is found
* ``keys_in_use``: whether a run that finds nothing has the wrong key
* ``outcome``: what has become of it, in words and as a document
* ``audit``: one line for each run

No identifier leaves `user_query`: all that follows knows pseudonyms only.
"""
