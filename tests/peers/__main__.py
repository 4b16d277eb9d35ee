"""Other people's suites with our doors in everything that they make: `make test-peers`, or ``python -m peers``.

Arguments name suites; without any, all run. Status 0 when tracing changes nothing that is not explained, 1 when it
does, 2 when a suite cannot be fetched or run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .differences import differences, explanations, unexplained, unneeded
from .suites import SUITES, CannotRunError, Run, Suite, fetch, run, set_up


def main(names: Sequence[str]) -> int:
    """Run the suites and return the exit status."""
    unknown = set(names) - {suite.name for suite in SUITES}
    if unknown:
        print(f"test-peers: no suite {', '.join(unknown)}; there are {', '.join(each.name for each in SUITES)}")
        return 2
    status = 0
    for suite in SUITES:
        if names and suite.name not in names:
            continue
        try:
            status = max(status, test(suite))
        except CannotRunError as error:
            print(f"test-peers: {error}", file=sys.stderr)
            status = 2
        except KeyboardInterrupt:
            print("test-peers: interrupted", file=sys.stderr)
            return 2
    return status


def test(suite: Suite) -> int:
    """Run one suite bare, then once with each of its plugins, say what differs, and return the exit status."""
    fetch(suite)
    set_up(suite)
    bare = run(suite, None)
    print(f"test-peers: {suite.name} {suite.version}, bare: {counts(bare)}", flush=True)
    return max(compare(suite, bare, plugin) for plugin in suite.plugins)


def compare(suite: Suite, bare: Run, plugin: str) -> int:
    """Run a suite with one plugin and compare; what differs without explanation gets a second chance, on both sides."""
    traced = run(suite, plugin)
    known = explanations(suite.name, plugin)
    found = differences(bare.outcomes, traced.outcomes)
    left = unexplained(found, known)
    explained = len(found) - len(left)
    if left:
        modules = sorted({difference.module for difference in left})
        again = differences(run(suite, None, modules).outcomes, run(suite, plugin, modules).outcomes)
        lasting = {difference.test for difference in again}
        for difference in left:
            if difference.test not in lasting:
                print(f"test-peers: it comes and goes: {difference}")
        left = [difference for difference in left if difference.test in lasting]
    problems = [*map(str, left), *traced.complaints]
    if not traced.spans:
        problems.append("not one SERVER or CLIENT span has arrived")
    print(
        f"test-peers: {suite.name} {suite.version}, {plugin}: {counts(traced)}; {traced.spans} spans; "
        f"{explained} differences explained, {len(left)} not",
        *problems,
        *(f"no longer needed in explained.toml: {test}" for test in unneeded(found, known)),
        sep="\n  ",
        flush=True,
    )
    return 1 if problems else 0


def counts(ran: Run) -> str:
    """How many tests came out how."""
    outcomes = [outcome for outcome, _ in ran.outcomes.values()]
    return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
