"""Three services, real traffic and a viewer: ``python -m examples.demo``, until Ctrl-C.

With ``--once`` it checks every trace and ends: status 0 when all are good, 1 when a trace has a fault,
2 when it could not start. With ``--incident`` something goes wrong in the services, and ``tracemw analyze`` has to
find out what: status 1 when it does not.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console

from examples.demo import services, traffic
from examples.demo.checks import Fault, check
from examples.demo.incidents import INCIDENTS, Incident, describe, warm_up
from examples.demo.investigation import AnalysisFailedError, arrive, find_cause, tracemw
from examples.demo.processes import ChildFailedError, Children
from examples.demo.services import Addresses, Shop
from examples.demo.traces import TraceStore
from examples.demo.traffic import Answer
from examples.demo.tree import draw

ARRIVAL_SECONDS = 5.0
INTERRUPTED = 130


def main() -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="check every trace and exit instead of staying")
    parser.add_argument("--incident", choices=INCIDENTS, help="let something go wrong, and have the cause found")
    options = parser.parse_args()
    try:
        return asyncio.run(run(INCIDENTS.get(options.incident), once=options.once))
    except asyncio.CancelledError:
        return INTERRUPTED
    except (ChildFailedError, AnalysisFailedError, httpx.HTTPError) as error:
        print(f"demo: {error!r}" if isinstance(error, httpx.HTTPError) else f"demo: {error}", file=sys.stderr)
        return 2


async def run(incident: Incident | None, *, once: bool) -> int:
    """Start everything, show what there is to see, and stop everything whatever happens."""
    stop_on_signals()
    console = Console(highlight=False)
    addresses = services.choose_addresses()
    with tempfile.TemporaryDirectory(prefix="tracemw-demo-") as folder:
        place = (Path(folder), services.REPOSITORY)
        # The services end first, while the viewer still takes the last of their spans.
        with Children(*place) as viewer, Children(*place) as children:
            async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:  # noqa: TMW302 - a user's browser traces nothing
                console.print("Starting the viewer and three services ...")
                await services.start_viewer(viewer, client, addresses)
                shop = Shop(children, client, addresses, incident=incident.folder if incident else None)
                await shop.open()
                store = TraceStore(client, addresses.viewer)
                if incident is not None:
                    status = await investigate(console, shop, store, incident, links=not once)
                    return status if once else await stay(console, viewer, children)
                answers = await traffic.send(client, addresses.services)
                faults = await arrival(store, answers)
                await show(console, store, addresses, answers, links=not once)
                if once:
                    return await verdict(console, store, children, answers)
            for fault in faults:
                console.print(str(fault), style="red", markup=False, soft_wrap=True)
            return await stay(console, viewer, children)


def stop_on_signals() -> None:
    """Let the signals that end a program cancel the demo's task, so that it cleans up as after any error."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("the demo runs as an asyncio task")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def arrival(store: TraceStore, answers: Sequence[Answer]) -> list[Fault]:
    """Wait until the store has every trace, whole; return what is still wrong after ARRIVAL_SECONDS."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        faults = check(await store.everything(), answers)
        if not faults or time.monotonic() > deadline:
            return faults
        await asyncio.sleep(0.2)


async def show(
    console: Console, store: TraceStore, addresses: Addresses, answers: Sequence[Answer], *, links: bool
) -> None:
    """Print a good and a failing trace, and, with links, where to go from there."""
    untraced = sum(not answer.request.traced for answer in answers)
    console.print(f"Sent {len(answers)} requests, {untraced} of them health checks, which are not traced.")
    for title, request in (("A good checkout", traffic.GOOD), ("One that has to fail", traffic.FAILING)):
        trace_id = traffic.trace_id_of(request, answers)
        if trace_id is None:
            continue
        where = f": {addresses.viewer}/trace/{trace_id}" if links else ""
        console.print(f"\n[bold]{title}[/]{where}", soft_wrap=True)
        for line in draw(await store.trace(trace_id), ascii_only=console.options.ascii_only):
            console.print(line, soft_wrap=True)
    if not links:
        return
    console.print(f"\nAll traces:  {addresses.viewer}", soft_wrap=True)
    for name, address in addresses.services.items():
        console.print(f"{name + ':':<12} {address}", soft_wrap=True)
    console.print(f"Try:         curl -i {addresses.services['storefront']}/checkout/2", soft_wrap=True)


async def verdict(console: Console, store: TraceStore, children: Children, answers: Sequence[Answer]) -> int:
    """Stop the services, so that the store has all they will ever send, and check every trace in it."""
    killed = children.stop()
    traces = await store.everything()
    faults = [
        *check(traces, answers),
        *(Fault(None, f"{name} did not stop in time and was killed") for name in killed),
    ]
    for fault in faults:
        console.print(str(fault), style="red", markup=False, soft_wrap=True)
    console.print(f"\n{len(traces)} traces, {f'{len(faults)} faults' if faults else 'each as it should be'}")
    return 1 if faults else 0


async def investigate(console: Console, shop: Shop, store: TraceStore, incident: Incident, *, links: bool) -> int:
    """Let the incident happen, have its cause found, and return 1 unless that is the injected one."""
    console.print(f"\n[bold]{incident.story}[/]")
    await warm_up(shop)
    answers = await incident.happen(shop)
    for stretch in filter(None, answers):
        console.print(f"Sent {describe(stretch)}.")
    for line in shop.warnings():
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    await arrive(store, {answer.trace_id for stretch in answers for answer in stretch})
    where = ("--url", store.address)
    of_all = ("--service", "storefront", *where)
    cause = await find_cause(*of_all)
    missing = {incident.code} - {cause.code}
    console.print(f"\n$ tracemw analyze {' '.join(of_all)}", style="bold", soft_wrap=True)
    console.print(cause.verdict, markup=False, soft_wrap=True)
    for command, named in incident.asked(cause.trace_id) if cause.trace_id else ():
        console.print(f"\n$ tracemw {' '.join((*command, *where))}", style="bold", soft_wrap=True)
        said = await tracemw(*command, *where)
        console.print(said.rstrip(), markup=False, soft_wrap=True)
        missing |= {text for text in named if text not in said.partition("\n")[0]}  # the verdict comes first
    if missing:
        console.print(
            f"\nThis is not the injected cause: it does not name {', '.join(sorted(missing))}",
            style="red",
            soft_wrap=True,
        )
    else:
        console.print("\nThis is the injected cause.", style="green")
    if links:
        console.print(f"\nThe trace:   {store.address}/trace/{cause.trace_id}", soft_wrap=True)
        console.print(f"All traces:  {store.address}", soft_wrap=True)
    return 1 if missing else 0


async def stay(console: Console, *groups: Children) -> int:
    """Stay until a signal; a child that ends by itself is an error."""
    console.print("\nCtrl-C stops all of it.")
    try:
        while True:
            for children in groups:
                children.check()
            await asyncio.sleep(0.5)
    except asyncio.CancelledError:
        console.print("\nStopping.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
