"""Arguments of tools: those that an agent makes up are refused, in plain words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import ToolAnnotations
from pydantic import ValidationError


class CheckedTool(Tool):
    """A tool that takes the arguments it lists, and no others."""

    @classmethod
    def of(cls, function: Callable[..., str], annotations: ToolAnnotations) -> Tool:
        """Return the tool that calls a function."""
        made = cls.from_function(function, annotations=annotations, structured_output=False)
        made.parameters["additionalProperties"] = False
        return made

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Call the function.

        Raises:
            ToolError: for an argument that is unknown, missing or not accepted, and for what the function refuses.
        """
        listed = self.parameters["properties"]
        takes = f"{self.name} takes {', '.join(listed)}"
        if unknown := [name for name in arguments if name not in listed]:
            raise ToolError(f"{', '.join(map(repr, unknown))} is not accepted; {takes}")
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(f"{_wrong(error.__cause__)}; {takes}") from error
            raise


def _wrong(error: ValidationError) -> str:
    return ", ".join(
        f"{each['loc'][0]} is missing"
        if each["type"] == "missing"
        else f"{each['loc'][0]}={each['input']!r} is not accepted ({each['msg'][:1].lower()}{each['msg'][1:]})"
        for each in error.errors(include_url=False)
    )
