"""Two sets of traces, and what sets them apart: before and after a release, slow and normal.

* ``side``: one set, of which numbers are kept and no traces
* ``served_requests``, ``span_groups``, ``attribute_values``: these numbers, by route, by kind of span, by attribute
* ``whole_traffic``: what a backend's metrics say of requests whose traces were not all fetched
* ``intervals``, ``significance``: how sure a number is, and whether a difference can be chance
* ``route_changes``, ``group_changes``, ``finding_changes``, ``attribute_changes``: what differs, one question each
* ``changes``: the records of all this
* ``comparing_sides``: all of it over two sides
* ``conclusion``: the one sentence on it
"""
