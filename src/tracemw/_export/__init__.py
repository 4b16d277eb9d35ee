"""The way of ended spans out of the process: a bounded queue, and a worker that delivers it."""

from tracemw._export.delivery import WORKER_NAME as WORKER_NAME
from tracemw._export.delivery import Delivery as Delivery
from tracemw._export.delivery import Stats as Stats
