"""What is examined: the settings that `init` would make of the environment, or those that an application has made."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tracemw._otel.providers import installed_provider
from tracemw._recording import TracerProvider
from tracemw._setup.installation import current_installation
from tracemw.checking.target import BrokenError, Target
from tracemw.config import Arguments, Config
from tracemw.doctor.diagnosis import Check, failure, ok, warning
from tracemw.redaction import Redaction

THE_ENVIRONMENT: Final = "the environment"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is examined."""

    name: str
    """`the environment`, or the application as the user has named it."""

    config: Config | None = None
    """The settings; None when they are not accepted."""

    redaction: Redaction | None = None
    """What `init` was told about redaction."""

    app: Any = None
    """The application; None without one."""

    checks: tuple[Check, ...] = ()
    """What reading the settings has shown."""


def read_environment() -> Subject:
    """Return the settings that `tracemw.init()` would make of this environment."""
    try:
        config = Config.resolve(Arguments())
    except (ValueError, TypeError) as error:
        return Subject(name=THE_ENVIRONMENT, checks=(_refused(error),))
    return Subject(name=THE_ENVIRONMENT, config=config, checks=(ok("configuration", "every variable is accepted"),))


def import_application(name: str, timeout: float, app_dir: Path) -> Subject:
    """Import an application as its server would, and return the settings that its `init` has made.

    This process is for that alone: see `examine_application`.

    Args:
        name: `module:app`, or `module:make_app()` for a function that makes the application.
        timeout: Seconds that the import may take.
        app_dir: The directory that the module is found in.

    Raises:
        CheckError: when there is no such module, or no application by that name in it.
    """
    target = Target.parse(name)
    try:
        sys.path.insert(0, str(app_dir))
        with _at_most(timeout):
            app = target.load()
    except BrokenError as error:
        broken = failure("configuration", str(error), "mend that first: its server would not start")
        return Subject(name=name, checks=(broken,))
    except _TooLong:
        endless = failure(
            "configuration",
            f"the import of {name} has taken more than {timeout:g} s",
            "does it wait for a server? --timeout gives more time",
        )
        return Subject(name=name, checks=(endless,))
    settings = current_installation().settings
    provider = installed_provider()
    if settings is None:
        found = read_environment()
        missing = warning(
            "init",
            f"importing {name} calls no tracemw.init(): what follows is what the environment says",
            "call tracemw.init() where the application is made, so that each process of a server has it",
        )
        return Subject(name=name, config=found.config, app=app, checks=(missing, *found.checks))
    config, _, redaction = settings
    checks = [ok("configuration", f"importing {name} calls tracemw.init(), which accepts its settings")]
    if not config.disabled and provider is not None and not isinstance(provider, TracerProvider):
        kind = f"{type(provider).__module__}.{type(provider).__qualname__}"
        checks.append(
            failure(
                "provider",
                f"a tracer provider of others is installed ({kind}): the settings of tracemw.init() do not hold",
                "leave out the code that installs it; under opentelemetry-instrument, set OTEL_PYTHON_DISTRO=tracemw",
            )
        )
    return Subject(name=name, config=config, redaction=redaction, app=app, checks=tuple(checks))


def _refused(error: Exception) -> Check:
    return failure("configuration", f"tracemw.init() refuses to start: {error}", "set the value to what is accepted")


class _TooLong(BaseException):
    """Raised into the application's code. No `Exception`: code that tries again for ever would catch that."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt what runs for longer, where a signal can.

    Raises:
        _TooLong: after that time.
    """

    def interrupt(*_: object) -> None:
        raise _TooLong

    was = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, was)
