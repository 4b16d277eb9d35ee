"""What one HTTP exchange means to a trace. The room does no I/O, and knows no framework.

A door translates its framework's request, and tells the exchange what happens. Each rule about names, attributes,
status and context stands here once.

The way of a request through this room, one module per step:

1. `settings`: a door checks its options, once; `skip` and `proxies` prepare two of them. `options` refuses what is no
   option of a door.
2. `facts`: what a door knows of a request; `request` is the door's own view, which gives the facts when asked.
3. `server`: the request begins. `arrival` says what of the current context belongs to the request; `propagation` reads
   the caller's context from the headers, in the formats of `tracecontext` and `baggage`.
4. `exchange`: the door tells what happens, and the span ends once. `departures` knows the exceptions that only say that
   the client has gone.
5. `semconv`: facts become names, attributes and status; `metrics` counts requests, and records how long they took.

The other end has three modules: `client` is one attempt at an outbound call, `uploads` the body that the caller's code
gives bit by bit, and `third_parties` knows the hosts that learn nothing of the trace.

Imports run from `server` down to `facts`.
"""
