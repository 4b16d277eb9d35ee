"""Spikes: more sampling for a while, in all processes that read the same control file.

A spike only raises sampling. Its traces carry its own threshold, so that backends count them right (see
`tracemw.sampling`). If only the spike had a trace sampled, the root of the trace has `tracemw.spike`.

The way through the room:

* ``terms``: what a spike is: how much more is sampled, of which requests, and until when
* ``document``: how spikes stand in a control file, as bytes
* ``control_file``: reading and writing that file
* ``watch``: the thread that reads the file when it has changed, and hands its spikes to the sampler
"""

from tracemw.spikes.control_file import add_spike, read_spikes, remove_spikes
from tracemw.spikes.document import ControlError
from tracemw.spikes.terms import LONGEST, Spike, require_duration
from tracemw.spikes.watch import ControlFileWatch

__all__ = [
    "LONGEST",
    "ControlError",
    "ControlFileWatch",
    "Spike",
    "add_spike",
    "read_spikes",
    "remove_spikes",
    "require_duration",
]
