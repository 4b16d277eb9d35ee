"""Exceptions that end inside a span."""

import logging

from opentelemetry import trace

import tracemw

tracer = trace.get_tracer("x")


def swallow(charge, cache):
    with tracemw.span("charge"):
        try:
            charge()
        except Exception:  # expect: TMW401
            pass
    with tracer.start_as_current_span("charge"):
        try:
            charge()
        except:  # expect: TMW401
            result = None
    with tracemw.span("charge"):
        for _ in range(3):
            try:
                return charge()
            except (ValueError, Exception):  # expect: TMW401
                continue
    with tracemw.span("charge"):
        try:
            charge()
        except KeyError:
            result = None
        try:
            charge()
        except Exception:
            raise
        try:
            charge()
        except Exception:
            logging.exception("no charge")
        try:
            charge()
        except Exception as error:
            cache["error"] = error
        try:
            charge()
        except Exception:
            tracemw.keep("charge failed")
        try:
            charge()
        except Exception:
            trace.get_current_span().set_status(trace.StatusCode.ERROR)
    try:
        charge()
    except Exception:
        pass
    return result


def outside(charge):
    try:
        with tracemw.span("charge"):
            charge()
    except Exception:
        pass
