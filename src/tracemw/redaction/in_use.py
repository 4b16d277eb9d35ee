"""The policy of this process, for whoever records texts of exceptions, logs and headers before they are cut.

To import this module loads no detector: an application that never calls `init` pays for them at its first exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracemw.redaction.policy import RedactionPolicy


class _InUse:
    policy: RedactionPolicy | None = None


def use(policy: RedactionPolicy) -> None:
    """Have this policy asked from now on."""
    _InUse.policy = policy


def in_use() -> RedactionPolicy:
    """Return the policy of the latest `init`; without one, a policy that allows no further keys."""
    if _InUse.policy is None:
        from tracemw.redaction.policy import RedactionPolicy  # here, since it loads the detectors

        _InUse.policy = RedactionPolicy()
    return _InUse.policy
