"""Keys and values of attributes and of baggage."""

from opentelemetry import baggage, trace

import tracemw

tracemw.init("shop", allow={"order.count", "payment.*"})
span = trace.get_current_span()


def record(user, order, password, **more):
    span.set_attribute("user.password", password)  # expect: TMW101
    span.set_attribute("api_key", "x")  # expect: TMW101
    span.set_attribute("http.request.method", "GET")
    span.set_attribute("order.count", 3)
    span.set_attribute("payment.amount", 3)
    span.set_attribute("gen_ai.usage.input_tokens", 3)
    span.set_attribute("token_count", 3)  # expect: TMW104
    span.set_attribute("customer.email", user.email)  # expect: TMW102
    span.set_attribute("user.name", user.name)  # expect: TMW102
    span.set_attribute("server.address", "db.internal")
    span.set_attribute("order.note", "x")  # expect: TMW104
    span.set_attributes(
        {
            "billing_address": user.address,  # expect: TMW102
            "order.count": 2,
            "session_token": "x",  # expect: TMW101
        }
    )
    span.set_attributes(more)
    tracemw.annotate(phone_number=user.phone)  # expect: TMW102
    tracemw.annotate(date_of_birth=user.born)  # expect: TMW102
    tracemw.annotate(**more)
    span.add_event("paid", {"card_number": order.card})  # expect: TMW102
    span.add_event("paid", attributes={"cvv_secret": order.cvv})  # expect: TMW101
    span.add_event("paid")
    with tracemw.span("pay", secret=order.secret):  # expect: TMW101
        pass
    with tracemw.span("pay", ssn=order.ssn):  # expect: TMW101
        pass
    with trace.get_tracer("x").start_as_current_span("pay", attributes={"zip_code": 1}):  # expect: TMW102
        pass
    span.set_attribute("payment.reference", "Bearer abcdefghijklmnop.qrstuvwxyz012345")  # expect: TMW103
    span.set_attribute("payment.url", "https://bob:hunter2secret@example.com/")  # expect: TMW103
    span.set_attribute("payment.version", "4.11.2")


def carry(user):
    baggage.set_baggage("user.email", user.email)  # expect: TMW402
    baggage.set_baggage("user.id", user.id)  # expect: TMW402
    baggage.set_baggage("access_token", user.token)  # expect: TMW402
    baggage.set_baggage("tenant.id", user.tenant)
    baggage.set_baggage(user.key, user.tenant)
