"""What `tracemw compare --html` writes: one page with everything in it, without scripts, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from tracemw.analysis.comparison.changes import Comparison, GroupChange, RouteChange, RouteNumbers, SideSummary
from tracemw.analysis.comparison.conclusion import conclude, interval, number
from tracemw.analysis.report.comparison_as_text import LABELS, is_bad, words_of
from tracemw.analysis.report.comparison_svg import durations_svg

_MOST_ROUTES: Final = 20
_MOST_GROUPS: Final = 15
_MOST_FINDINGS: Final = 20
_HEAD: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
"""


def page_of_comparison(made: Comparison) -> str:
    """Return the page on a comparison."""
    style = Path(__file__).with_name("comparison.css").read_text(encoding="utf-8")
    return "\n".join(
        [_HEAD.format(title="Before and after", style=style), *_parts(made), "</main>\n</body>\n</html>\n"]
    )


def _parts(made: Comparison) -> Iterator[str]:
    sentence = conclude(made)
    yield f'<h1 class="{"worse" if is_bad(made) else "better"}">{escape(sentence[:1].upper() + sentence[1:])}</h1>'
    yield _side("before", made.before) + _side("after", made.after)
    yield f"<p>Each interval has the truth with {made.confidence:.2%}, all together with 95%.</p>"
    yield from (f"<p>Note: {escape(note)}.</p>" for note in made.notes)
    shown = _groups(made)
    if shown:
        yield shown
    yield "<h2>Routes</h2>"
    yield from (_route(route) for route in made.routes[:_MOST_ROUTES])
    if made.routes[_MOST_ROUTES:]:
        yield f"<p>... and {len(made.routes) - _MOST_ROUTES} more; --json has all.</p>"
    yield from _findings(made)
    yield from _attributes(made)


def _side(when: str, side: SideSummary) -> str:
    versions = f", version {', '.join(side.versions[:3])}" if side.versions else ""
    weighed = f", which stand for {side.requests:.0f}" if round(side.requests) != side.traces else ""
    told = escape(f"{side.name}: {side.traces} traces{weighed}{versions}")
    return f'<p class="side {when}">{when} {told}</p>'


def _groups(made: Comparison) -> str:
    sure = [group for group in made.groups if group.grew or group.shrank]
    chosen = (sure or [group for group in made.groups if abs(group.growth_ms) > 0.001])[:_MOST_GROUPS]
    if not chosen:
        return ""
    title = "What grew and shrank" if sure else "What differs most, which can be chance"
    return f'<h2>{title}, in an average request</h2><section class="card">{_bars(chosen)}</section>'


def _bars(groups: Sequence[GroupChange]) -> str:
    """Return the growth of groups as bars: of what grew to the right, of what shrank to the left."""
    most = max((max(group.growth_ms, 0.0) for group in groups), default=0.0)
    least = max((max(-group.growth_ms, 0.0) for group in groups), default=0.0)
    percent = 100 / ((most + least) or 1.0)
    return f'<ul class="growth">{"".join(_bar(group, least, percent) for group in groups)}</ul>'


def _bar(group: GroupChange, least: float, percent: float) -> str:
    style = "worse" if group.grew else "better" if group.shrank else "unsure"
    left, width = (least + min(group.growth_ms, 0.0)) * percent, abs(group.growth_ms) * percent
    growth = f"{'+' if group.growth_ms >= 0 else '−'}{number(abs(group.growth_ms))} ms"  # noqa: RUF001  a minus sign
    return (
        f'<li title="{escape(" > ".join(group.position))}">'
        f"<p>{escape(group.name)} in {escape(group.service)}<small>{escape(_detail(group))}</small></p>"
        f'<span class="lane"><i class="{style}" style="left:{left:.1f}%;width:{width:.1f}%"></i></span>'
        f"<b>{growth}</b></li>"
    )


def _detail(group: GroupChange) -> str:
    before, after = group.before, group.after
    parts = [f"{number(before.own_ms)} -> {number(after.own_ms)} ms"]
    if abs(after.count - before.count) >= 0.05:
        parts.append(f"{number(before.count)} -> {number(after.count)} {'calls' if group.is_call else 'spans'}")
    if group.grew and group.share_of_growth:
        parts.append(f"{group.share_of_growth:.0%} of the growth")
    if group.line:
        parts.append(group.line)
    return f"{group.entry[1]}: {', '.join(parts)}"


def _route(route: RouteChange) -> str:
    badges = "".join(
        f'<span class="badge {"worse" if route.worse else "better" if route.better else ""}">{word}</span>'
        for word in words_of(route)
    )
    rows = "".join(
        f'<tr><td class="side {when}">{when}</td><td>{number(numbers.count)}</td>{_cells(numbers)}</tr>'
        for when, numbers in (("before", route.before), ("after", route.after))
        if numbers is not None
    )
    heads = "".join(f"<th>{label}</th>" for label in LABELS.values())
    picture = durations_svg(route) if route.edges_ms else ""
    return (
        f'<section class="card"><h3>{escape(route.route)} of {escape(route.service)}{badges}</h3>{picture}'
        f"<table><tr><th></th><th>count</th>{heads}</tr>{rows}</table></section>"
    )


def _cells(numbers: RouteNumbers) -> str:
    cells = []
    for name in LABELS:
        estimate = numbers.measures.get(name)
        factor = 100 if name == "error_rate" else 1
        if estimate is None:
            cells.append("<td></td>")
        else:
            bounds = interval(estimate, factor)
            cells.append(f"<td>{number(estimate.value * factor)} <small>({bounds})</small></td>")
    return "".join(cells)


def _findings(made: Comparison) -> Iterator[str]:
    new = made.new_findings[:_MOST_FINDINGS]
    if new:
        yield "<h2>Findings that are new or more frequent</h2>"
    for change in new:
        finding = change.finding
        often = f"In {change.share_before:.1%} -> {change.share_after:.1%} of the requests"
        yield (
            f'<section class="card"><h3>{escape(finding.title)}'
            f'<span class="badge worse">{"new" if change.is_new else "more"} {escape(finding.code)}</span></h3>'
            f"<p>{escape(often)}; {escape(finding.remedy)}.</p>"
            f"<p>One of them is <code>{escape(finding.trace_id)}</code>; more of the same: "
            f"<code>{escape(finding.query)}</code></p></section>"
        )


def _attributes(made: Comparison) -> Iterator[str]:
    if not made.attributes:
        return
    rows = "".join(
        f"<tr><td><code>{escape(change.attribute)}</code></td><td><code>{escape(change.value)}</code></td>"
        f'<td class="number">{change.share_before:.1%}</td><td class="number">{change.share_after:.1%}</td></tr>'
        for change in made.attributes
    )
    yield "<h2>Attributes that set the sides apart, by the share of requests</h2>"
    yield (
        '<section class="card"><table><tr><th>attribute</th><th>value</th><th>before</th><th>after</th></tr>'
        f"{rows}</table></section>"
    )
