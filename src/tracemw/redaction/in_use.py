"""The policy of this process, for whoever records texts of exceptions, logs and headers before they are cut.

To import this module loads no detector: an application that never calls `init` pays for them at its first exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracemw.redaction.policy import Policy


class _InUse:
    policy: Policy | None = None


def use(policy: Policy) -> None:
    """Have this policy asked from now on."""
    _InUse.policy = policy


def in_use() -> Policy:
    """Return the policy of the latest `init`; without one, a policy that allows no further keys."""
    if _InUse.policy is None:
        from tracemw.redaction.policy import Policy  # here, since it loads the detectors

        _InUse.policy = Policy()
    return _InUse.policy
