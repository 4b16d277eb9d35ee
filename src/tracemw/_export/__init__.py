"""The way of ended spans out of the process: a bounded queue, a worker that delivers it, and the OTLP exporters."""

from tracemw._export.delivery import Delivery as Delivery
from tracemw._export.stats import Stats as Stats
