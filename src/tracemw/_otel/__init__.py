"""The ground floor under all doors: what doors ask of OpenTelemetry, and of our own recorder.

The way through this room, one module per step:

1. `context`: what travels in the OpenTelemetry context of a request.
2. `providers`: the tracer provider and meter provider in use.
3. `recorder`: how our own tracers, spans, samplers and processors are told from others, and what they can do.
4. `attributes`: attributes that are made late; `cleaning` turns any value into one that a span may hold.
5. `clock`: the time within a request.
6. `exceptions`: an exception on a span; `stacktrace` keeps the stack trace short.
   `handled` has those that end no span, and `application` says which code is the application's own.
7. `guard`: a fault of tracing ends here, and never reaches the application.
"""
