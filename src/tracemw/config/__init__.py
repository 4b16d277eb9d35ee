"""The one place that reads the environment. It needs the standard library only.

An argument of `tracemw.init` wins over the `OTEL_*` variables, whose meaning is that of the OpenTelemetry
specification. Those win over the plain names `TEMPO_ENDPOINT`, `SERVICE_VERSION` and `ENVIRONMENT`. Variables of
tracemw's own begin with `TRACEMW_`. A variable that is set to nothing counts as unset.

The way through the room, from the arguments and variables to the settings:

* ``arguments``: the arguments of `init`
* ``environment``, ``parsers``: the variables, and the values that are accepted
* ``endpoint``, ``headers``, ``tls``, ``proxy``: one part of the way to a backend each
* ``backend``: where one signal goes, and how: these parts together
* ``allow``: the keys of attributes that may leave; ``project`` reads those of pyproject.toml
* ``pseudonym_keys``: the keys of the hashes that stand for users
* ``configuration``: all settings of the process, made once and frozen

Three modules stand beside the way: ``methods`` and ``propagators`` are read where they are used, and users name
requests by ``patterns``.
"""

from tracemw.config.arguments import Arguments
from tracemw.config.backend import Backend
from tracemw.config.configuration import DELIVERY_TIMEOUT, Config, control_file, ignored_files, is_development
from tracemw.config.endpoint import Endpoint
from tracemw.config.environment import OWN_VARIABLES, unknown_variables
from tracemw.config.methods import KNOWN_METHODS, known_methods
from tracemw.config.project import Project, read_project
from tracemw.config.propagators import unknown_propagators
from tracemw.config.pseudonym_keys import PseudonymKey, pseudonym_keys

__all__ = [
    "DELIVERY_TIMEOUT",
    "KNOWN_METHODS",
    "OWN_VARIABLES",
    "Arguments",
    "Backend",
    "Config",
    "Endpoint",
    "Project",
    "PseudonymKey",
    "control_file",
    "ignored_files",
    "is_development",
    "known_methods",
    "pseudonym_keys",
    "read_project",
    "unknown_propagators",
    "unknown_variables",
]
