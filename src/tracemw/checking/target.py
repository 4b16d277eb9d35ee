"""`shop.main:app` and its like, as uvicorn and gunicorn spell them, become the application."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from tracemw.checking.errors_told import told
from tracemw.checking.problems import CheckError

_ACCEPTED = "use MODULE:APPLICATION, such as shop.main:app or shop.main:create_app()"


class BrokenError(CheckError):
    """The application's own code fails: no server could start it. The text says where and why."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the application is.

    Args:
        module: The dotted name of its module.
        name: Its name there, with dots for attributes.
        arguments: What the name is called with; None if it is not called.
        keywords: The keyword arguments of that call.
    """

    module: str
    name: str
    arguments: tuple[Any, ...] | None = None
    keywords: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def parse(cls, text: str, *, factory: bool = False) -> Self:
        """Read a target.

        Args:
            text: `MODULE:APPLICATION`. The application may be a call with literals, as gunicorn has it.
            factory: Whether the name is a function to call, as uvicorn has it.

        Raises:
            CheckError: for anything else.
        """
        module, colon, name = text.partition(":")
        if not colon or not module or not all(part.isidentifier() for part in module.split(".")):
            raise CheckError(f"{text!r} is not accepted; {_ACCEPTED}")
        try:
            node = ast.parse(name.strip(), mode="eval").body
            arguments: tuple[Any, ...] | None = () if factory else None
            keywords: tuple[tuple[str, Any], ...] = ()
            if isinstance(node, ast.Call):
                arguments = tuple(ast.literal_eval(argument) for argument in node.args)
                keywords = tuple((str(each.arg), ast.literal_eval(each.value)) for each in node.keywords)
                node = node.func
        except (SyntaxError, ValueError):
            raise CheckError(f"{text!r} is not accepted; {_ACCEPTED}") from None
        dotted = ast.unparse(node)
        if not all(part.isidentifier() for part in dotted.split(".")):
            raise CheckError(f"{text!r} is not accepted; {_ACCEPTED}")
        return cls(module=module, name=dotted, arguments=arguments, keywords=keywords)

    def load(self) -> Any:
        """Import the module, and return the application.

        Raises:
            BrokenError: if the application's own code fails.
            CheckError: if there is no such application.
        """
        module = self._import()
        found: Any = module
        for part in self.name.split("."):
            if not hasattr(found, part):
                raise CheckError(f"{self.module} has no {self.name!r}{_instead(module)}")
            found = getattr(found, part)
        if self.arguments is not None:
            found = self._called(found)
        elif _is_factory(found):
            self._refuse_asynchronous(inspect.iscoroutinefunction(found))
            given = ", ".join(f"{each}=..." for each in _needed(found))
            raise CheckError(
                f"{self.module}:{self.name} is a function that takes no request; "
                f"write {self.module}:{self.name}({given}) if it makes the application"
            )
        if not callable(found):
            raise CheckError(f"{self.module}:{self.name} is no application but {_shown(found)}{_hint(found)}")
        return found

    def _called(self, factory: Any) -> Any:
        try:
            found = factory(*self.arguments or (), **dict(self.keywords))
        except (Exception, SystemExit) as error:
            raise BrokenError(f"{self.module}:{self.name}() has failed: {told(error)}") from error
        if inspect.iscoroutine(found):
            found.close()  # else Python warns that nobody has awaited it
        self._refuse_asynchronous(inspect.iscoroutine(found))
        return found

    def _refuse_asynchronous(self, is_asynchronous: bool) -> None:
        if is_asynchronous:
            raise CheckError(
                f"{self.module}:{self.name} is asynchronous, and servers await no factory; "
                "make the application in a plain function, and what has to be awaited in its lifespan"
            )

    def _import(self) -> ModuleType:
        try:
            return importlib.import_module(self.module)
        except (Exception, SystemExit) as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name is not None
            if missing and f"{self.module}.".startswith(f"{error.name}."):  # type: ignore[union-attr]
                raise CheckError(
                    f"there is no module {error.name} in {sys.path[0] or Path.cwd()}; "  # type: ignore[union-attr]
                    "name the directory that has it with --app-dir"
                ) from error
            raise BrokenError(
                f"{self.module} cannot be imported: {told(error)}; "
                f"`python -c 'import {self.module}'` shows the whole traceback"
            ) from error


def _is_factory(found: Any) -> bool:
    """Tell whether a function takes too few arguments for an application: WSGI has two, ASGI 2 has `scope` alone."""
    if not inspect.isfunction(found):
        return False
    if any(each.kind is each.VAR_POSITIONAL for each in inspect.signature(found).parameters.values()):
        return False
    needed = _needed(found)
    return not needed or (len(needed) == 1 and needed != ["scope"])


def _needed(function: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD]


def _instead(module: ModuleType) -> str:
    names = [name for name, each in vars(module).items() if name in ("app", "application") and callable(each)]
    return f"; there is {' and '.join(names)}" if names else ""


def _shown(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _hint(found: object) -> str:
    if type(found).__module__ in ("tracemw.flask", "tracemw.litestar", "tracemw.falcon"):
        return "; that traces the application in place: serve the application itself, and keep its name for it"
    return ""
