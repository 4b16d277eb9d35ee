"""The test suites of those that tracemw plugs into, run without and with its doors: see README.md.

`__main__` runs them all, `suites` says what there is to run and sets it up, `outcomes` is the pytest plugin that
writes down what became of each test, `differences` compares two such runs, and `traced` has one pytest plugin for each
way to install a door.
"""
