"""The application as a real server imports it: `CONFORMANCE_DOOR` names the door."""

from __future__ import annotations

import os

import tracemw
from conformance.server_doors import DOORS
from conformance.service import Service

tracemw.init("conformance")
app = DOORS[os.environ["CONFORMANCE_DOOR"]]().traced(Service())
