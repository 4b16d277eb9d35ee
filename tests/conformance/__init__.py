"""What every door must do: one suite over all server doors, another over all client doors.

`make conformance` prints what holds as a table, door by case.
"""
