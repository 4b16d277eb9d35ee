"""What a comparison is made of: from words that name two sets of traces to the comparison.

* ``how_long``: lengths of time as users type them
* ``sources``: the words of one side become files, or a search
* ``searching``: traces that a search finds
* ``measuring``: numbers of all traffic, where a server has metrics
* ``both_sides``: all of this for two sides
"""
