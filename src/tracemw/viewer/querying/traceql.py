"""The parser of TraceQL queries: filters, the operators between them, pipelines, and the metrics at their end."""

from __future__ import annotations

from dataclasses import dataclass

from tracemw.viewer.querying.conditions import COMPARISONS, NUMBERS, Expression, Literal
from tracemw.viewer.querying.expressions import CONSTANTS, MAX_DEPTH, ExpressionParser
from tracemw.viewer.querying.fields import INTRINSICS, Field
from tracemw.viewer.querying.lexemes import SyntaxQueryError, Tokens
from tracemw.viewer.querying.literals import QueryError, parse_number
from tracemw.viewer.querying.pipelines import (
    AGGREGATES,
    ALL,
    Aggregating,
    Coalescing,
    Filtering,
    Grouping,
    QueryPipeline,
    Selecting,
    Stage,
)
from tracemw.viewer.querying.spansets import RELATIONS, Filter, Joined, Related, SpansetExpression

METRICS = (
    *("rate", "count_over_time", "min_over_time", "max_over_time", "avg_over_time", "sum_over_time"),
    *("quantile_over_time", "histogram_over_time", "compare"),
)
RANKINGS = ("topk", "bottomk")

_STAGES = ("by", "coalesce", "select", *AGGREGATES)
_KEYWORDS = frozenset((*CONSTANTS, *INTRINSICS, *_STAGES, *METRICS, *RANKINGS, "with", "parent"))
_RELATIONS = {
    "!~": ("~", "!"),
    **{symbol: (symbol, "") for symbol in RELATIONS},
    **{f"!{symbol}": (symbol, "!") for symbol in RELATIONS},
    **{f"&{symbol}": (symbol, "&") for symbol in RELATIONS},
}
_MOST_GROUPS = 5  # of one by(), as in Tempo
_MOST_FILTERS = 20


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a query counts or measures over time.

    Attributes:
        function: One of `METRICS`.
        of: The field that is measured. None for ``rate`` and ``count_over_time``, which count spans.
        quantiles: Those of ``quantile_over_time``, from 0 to 1.
        by: The fields whose values make a series each.
        selection: The filter of ``compare``.
        limit: How many values of each field ``compare`` tells.
        ranking: ``topk`` or ``bottomk``, and of how many series. An empty text for none.
    """

    function: str
    of: Field | None = None
    quantiles: tuple[float, ...] = ()
    by: tuple[Field, ...] = ()
    selection: Filter | None = None
    limit: int = 10
    ranking: tuple[str, int] = ("", 0)


@dataclass(frozen=True, slots=True)
class Query:
    """A query: the spans to find, and what to measure of them. ``metrics`` is None for a search."""

    pipeline: QueryPipeline
    metrics: Metrics | None = None


def parse_traceql(text: str) -> Query:
    """Return a query.

    Raises:
        SyntaxQueryError: when the text breaks the grammar.
        QueryError: when it asks for something that cannot be answered, or for too much.
    """
    return _Parser(text).parse()


def parse_search_query(text: str) -> QueryPipeline:
    """Return the query of a search.

    Raises:
        QueryError: in Tempo's words for a search, for what is no such query.
    """
    try:
        query = parse_traceql(text)
    except SyntaxQueryError as error:
        raise QueryError(f"invalid TraceQL query: {error}") from None
    if query.metrics is not None:
        raise QueryError("invalid TraceQL query: metrics are answered at /api/metrics/query_range, not by a search")
    return query.pipeline


def parse_identifier(text: str) -> Field:
    """Return the field that a text such as ``span.http.route`` names.

    Raises:
        QueryError: in Tempo's words for the names of tags, for any other text.
    """
    braced = f"{{{text}}}"
    tokens = Tokens(braced, _KEYWORDS)
    try:
        tokens.expect("{")
        field = ExpressionParser(braced, tokens).parse_field()
        tokens.expect("}")
    except SyntaxQueryError as error:
        raise QueryError(
            f"please provide a valid tagName: failed to parse identifier {text[:64]}: "
            f"{str(error).removesuffix(', expecting }')}"
        ) from None
    return field


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = Tokens(text, _KEYWORDS)
        self._expressions = ExpressionParser(text, self._tokens)
        self._depth = 0
        self._filters = 0

    def parse(self) -> Query:
        pipeline = self._parse_pipeline()
        metrics = self._parse_metrics() if self._tokens.is_next(*METRICS) else None
        if self._tokens.take("with"):
            self._pass_hints()
        if self._tokens.peek().kind != "end":
            raise self._tokens.unexpected()
        return Query(pipeline, metrics)

    def _parse_pipeline(self) -> QueryPipeline:
        """Parse a pipeline, up to its end or to the metrics that come after its last bar."""
        stages: list[Stage] = [self._parse_stage()]
        while self._tokens.take("|"):
            if self._tokens.is_next(*METRICS) and not self._depth:
                break
            stages.append(self._parse_stage())
        if isinstance(stages[0], Filtering):
            first = stages[0].expression
            if isinstance(first, QueryPipeline) and not self._depth:  # parentheses around all
                return QueryPipeline(first.first, (*first.stages, *stages[1:]))
            return QueryPipeline(first, tuple(stages[1:]))
        return QueryPipeline(ALL, tuple(stages))

    def _parse_stage(self) -> Stage:
        start = self._tokens.peek().position
        if self._tokens.take("by"):
            self._tokens.expect("(")
            by = self._expressions.parse()
            self._tokens.expect(")")
            return Grouping(self._expressions.text_since(start), by)
        if self._tokens.take("coalesce"):
            self._tokens.expect("(")
            self._tokens.expect(")")
            return Coalescing()
        if self._tokens.take("select"):
            return Selecting(self._parse_fields())
        if self._tokens.is_next(*AGGREGATES):
            return self._parse_aggregate(start)
        return Filtering(self._parse_spans(0))

    def _parse_aggregate(self, start: int) -> Aggregating:
        aggregate = self._tokens.advance().text
        self._tokens.expect("(")
        of: Expression | None = None if aggregate == "count" else self._expressions.parse()
        self._tokens.expect(")")
        text = self._expressions.text_since(start)
        if of is not None and of.type not in (*NUMBERS, "attribute"):
            raise QueryError(
                f"invalid TraceQL query: aggregate field expressions must resolve to a number type: {text}"
            )
        operator = self._tokens.peek().text
        if operator not in COMPARISONS or "~" in operator:
            raise self._tokens.unexpected()
        self._tokens.advance()
        limit = self._expressions.parse(2)
        if not isinstance(limit, Literal) or limit.type not in NUMBERS:
            raise QueryError(f"invalid TraceQL query: compare with a number: {self._expressions.text_since(start)}")
        assert isinstance(limit.value, int | float)  # noqa: S101  # by its type
        return Aggregating(text, aggregate, of, operator, limit.value)

    def _parse_spans(self, above: int) -> SpansetExpression:
        left = self._parse_spans_once()
        while (level := self._level()) > above:
            operator = self._tokens.advance().text
            right = self._parse_spans(level)
            if level == 1:
                left = Joined(left, operator, right)
            else:
                relation, mode = _RELATIONS[operator]
                left = Related(left, relation, mode, right)
        return left

    def _level(self) -> int:
        """Return how strong the next operator binds. ``&&`` and ``||`` bind alike, as in Tempo."""
        token = self._tokens.peek()
        if token.kind != "symbol":
            return 0
        return 1 if token.text in ("&&", "||") else 2 * (token.text in _RELATIONS)

    def _parse_spans_once(self) -> SpansetExpression:
        if self._tokens.take("("):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise QueryError(f"invalid TraceQL query: more than {MAX_DEPTH} nested expressions")
            pipeline = self._parse_pipeline()
            self._tokens.expect(")")
            self._depth -= 1
            return pipeline if pipeline.stages else pipeline.first
        return self._parse_filter()

    def _parse_filter(self) -> Filter:
        if not self._tokens.is_next("{"):
            raise self._tokens.unexpected()
        self._filters += 1
        if self._filters > _MOST_FILTERS:
            raise QueryError(f"invalid TraceQL query: more than {_MOST_FILTERS} filters")
        start = self._tokens.advance().position
        if self._tokens.take("}"):
            return Filter(Literal(True))
        expression = self._expressions.parse()
        self._tokens.expect("}")
        if expression.type not in ("bool", "attribute"):
            raise QueryError(
                "invalid TraceQL query: span filter field expressions must resolve to a boolean: "
                f"{self._expressions.text_since(start)}"
            )
        return Filter(expression)

    def _parse_fields(self) -> tuple[Field, ...]:
        self._tokens.expect("(")
        fields = [self._expressions.parse_field()]
        while self._tokens.take(","):
            fields.append(self._expressions.parse_field())
        self._tokens.expect(")")
        return tuple(fields)

    def _parse_metrics(self) -> Metrics:
        function = self._tokens.advance().text
        self._tokens.expect("(")
        if function == "compare":
            return self._parse_compare()
        of = None if function in METRICS[:2] else self._expressions.parse_field()
        quantiles: list[float] = []
        while function == "quantile_over_time" and (self._tokens.take(",") or not quantiles):
            quantiles.append(self._parse_quantile())
        self._tokens.expect(")")
        by = self._parse_fields() if self._tokens.take("by") else ()
        if len(by) > _MOST_GROUPS:
            raise QueryError(f"invalid TraceQL query: metrics group by more than {_MOST_GROUPS} values")
        return Metrics(function, of, tuple(quantiles), by, ranking=self._parse_ranking())

    def _parse_quantile(self) -> float:
        quantile = float(self._parse_integer_or_float())
        if not 0 <= quantile <= 1:
            raise QueryError(f"quantile must be between 0 and 1: {quantile:g}")
        return quantile

    def _parse_compare(self) -> Metrics:
        selection = self._parse_filter()
        numbers: list[int | float] = []
        while self._tokens.take(","):
            numbers.append(self._parse_integer_or_float())
        self._tokens.expect(")")
        if len(numbers) > 1:
            raise QueryError("invalid TraceQL query: compare takes a filter and a limit; the window is start and end")
        return Metrics("compare", selection=selection, limit=int(numbers[0]) if numbers else 10)

    def _parse_ranking(self) -> tuple[str, int]:
        if not self._tokens.take("|"):
            return "", 0
        if not self._tokens.is_next(*RANKINGS):
            raise self._tokens.unexpected()
        ranking = self._tokens.advance().text
        self._tokens.expect("(")
        limit = self._parse_integer_or_float()
        self._tokens.expect(")")
        if limit < 1:
            raise QueryError("invalid TraceQL query: limit must be greater than 0")
        return ranking, int(limit)

    def _parse_integer_or_float(self) -> int | float:
        if self._tokens.peek().kind != "number":
            raise self._tokens.unexpected()
        return parse_number(self._tokens.advance().text)

    def _pass_hints(self) -> None:
        """Pass hints such as ``with (most_recent=true)``: all that they change is how Tempo looks into its blocks."""
        self._tokens.expect("(")
        while True:
            self._tokens.advance()
            self._tokens.expect("=")
            self._tokens.advance()
            if not self._tokens.take(","):
                break
        self._tokens.expect(")")
