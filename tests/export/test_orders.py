"""Orders alone: their order, and the pauses between attempts."""

from __future__ import annotations

import threading
import time

import pytest

from tracemw._export.orders import WAKE, Order, Orders


def an_order() -> Order:
    return Order(stop=False, lost_before=0)


def seconds_of(orders: Orders, seconds: float, *, is_asked: bool) -> tuple[float, bool]:
    """Pause; return how long that took, and whether there is time for another attempt."""
    began = time.monotonic()
    goes_on = orders.pause(seconds, is_asked=is_asked)
    return time.monotonic() - began, goes_on


def test_orders_come_in_the_order_they_were_given_and_then_none() -> None:
    orders, first, second = Orders(), an_order(), an_order()
    orders.put(first)
    orders.put(second)
    assert [orders.next(0), orders.next(0), orders.next(0)] == [first, second, WAKE]


def test_an_order_that_was_put_off_comes_first() -> None:
    orders, first, second = Orders(), an_order(), an_order()
    orders.put(second)
    orders.put_off(first)
    assert [orders.next(0), orders.next(0)] == [first, second]


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_pause_takes_its_time(*, is_asked: bool) -> None:
    took, goes_on = seconds_of(Orders(), 0.1, is_asked=is_asked)
    assert took >= 0.1
    assert goes_on


def test_an_order_ends_a_pause_of_our_own_and_is_carried_out_later() -> None:
    orders, order = Orders(), an_order()
    orders.put(WAKE)
    orders.put(order)
    took, goes_on = seconds_of(orders, 30, is_asked=False)
    assert took < 5
    assert goes_on
    assert [orders.next(0), orders.next(0)] == [WAKE, order]


def test_an_order_does_not_end_a_pause_that_the_backend_has_asked_for() -> None:
    orders, order = Orders(), an_order()
    orders.put(order)
    took, goes_on = seconds_of(orders, 0.2, is_asked=True)
    assert took >= 0.2
    assert goes_on
    assert orders.next(0) is order


def test_a_shutdown_waits_for_no_pause_that_is_longer() -> None:
    orders = Orders()
    orders.stop_by = time.monotonic() + 10
    took, goes_on = seconds_of(orders, 30, is_asked=True)
    assert took < 5
    assert not goes_on


def test_a_shutdown_in_the_midst_of_a_pause_ends_it() -> None:
    orders = Orders()

    def stop() -> None:
        orders.stop_by = time.monotonic() + 10
        orders.put(an_order())

    threading.Timer(0.1, stop).start()
    took, goes_on = seconds_of(orders, 30, is_asked=True)
    assert took < 5
    assert not goes_on


def test_an_order_is_waited_for_by_many_and_no_longer_than_they_want() -> None:
    order = an_order()
    assert order.wait(0.01) is False
    order.delivered = True
    order.done.release()
    assert [order.wait(5), order.wait(5)] == [True, True]


@pytest.mark.parametrize("seconds", [float("inf"), 1e12])
def test_no_wait_is_too_long(seconds: float) -> None:
    order = an_order()
    order.done.release()
    assert order.wait(seconds) is False
