"""Real services whose traces are recorded, with their labels: `python -m analysis.evaluation.recording`.

* ``tracing``: how a service is traced: by OpenTelemetry's own instrumentations, or by tracemw
* ``shop``, ``stock``: two services, one on FastAPI and one on Flask, with a fault at each path
* ``labels``: what has to be found in the trace of each path
* ``collecting``: what takes the spans that the services export
"""
