"""The way of ended spans out of the process: a bounded queue, a worker that delivers it, and the OTLP encoding."""

from tracemw._export.delivery import Delivery as Delivery
from tracemw._export.delivery import Stats as Stats
from tracemw._export.otlp_http import OtlpHttpExporter as OtlpHttpExporter
