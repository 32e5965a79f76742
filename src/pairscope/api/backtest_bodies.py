"""What a backtest, a sweep and a walk-forward are asked with: the bodies, and the bounds of each number."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)
from pydantic_core import core_schema

from pairscope.api.parameters import Time, Timeframe
from pairscope.market.pairs import MOST_LOOKBACK

__all__ = ["BacktestIn", "SweepIn", "WalkForwardIn"]

T = TypeVar("T")

MOST_VALUES: Final = 1000
"""Values of one parameter that a sweep may try."""

_MOST_MONEY: Final = 1e12

Method = Literal["ols", "huber", "kalman", "fixed"]

Symbol = Annotated[str, Field(max_length=200)]
Lookback = Annotated[int, Field(ge=3, le=MOST_LOOKBACK)]
Window = Annotated[int, Field(ge=2, le=MOST_LOOKBACK)]
Z = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Threshold = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Bars = Annotated[int, Field(ge=1, le=1_000_000)]
Pause = Annotated[int, Field(ge=0, le=1_000_000)]
Ratio = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
Money = Annotated[float, Field(gt=0, le=_MOST_MONEY, allow_inf_nan=False)]
Bps = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Drift = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


class _OneOrMany:
    """Takes one value for a list of one, and says so in the schema."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(_listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


Several: TypeAlias = Annotated[list[T], Field(min_length=1, max_length=MOST_VALUES), _OneOrMany()]
"""One value, or a list of those that are tried."""


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _hedge(value: Any) -> Any:
    """Return the object that a bare number (or several) or a bare method's name stands for."""
    first = value[0] if isinstance(value, list) and value else value
    if isinstance(first, str):
        return {"method": value}
    return {"method": "fixed", "beta": value} if isinstance(first, (int, float)) else value


class _Asked(BaseModel):
    """What knows its parameters, and takes what is null for what was left out."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """Take what is null for what was left out."""
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class HedgeIn(_Asked):
    """Whose hedge ratio is traded."""

    method: Method = "ols"
    lookback: Lookback = Field(default=1440, description="Bars that it is fitted on.")
    beta: Ratio | None = Field(default=None, description="The ratio itself, of `fixed`.")


class _Question(_Asked):
    """What does not vary: the pair, the range, the money, the costs."""

    y: Symbol = Field(description="The dependent symbol, in any case.")
    x: Symbol = Field(description="The hedging symbol.")
    timeframe: Timeframe = "1m"
    start: Time | None = Field(None, description="Traded from here on; warm-up is read before it.")
    end: Time | None = Field(None, description="Excluded; by default all that has closed.")
    notional: Money = Field(10_000.0, description="What both legs are worth together at an entry, in quote units.")
    capital: Money | None = Field(None, description="What returns are of; by default the notional.")
    fee_bps: Bps | tuple[Bps, Bps] = Field((4.0, 4.0), description="Of each leg's traded value; or [y, x].")
    slippage_bps: Bps | tuple[Bps, Bps] = Field((1.0, 1.0), description="Of each leg's traded value; or [y, x].")
    slippage_range: Share = Field(0.0, description="Slippage as a share of the filling bar's high less low.")
    funding: bool = Field(False, description="Charge the exchange's funding rates at their times.")
    fill: Literal["next", "open", "same"] = Field(
        "next", description="At the next bar's close, its open, or (for comparison only) the deciding close itself."
    )
    price_space: Literal["log", "linear"] = "log"
    sizing: Literal["beta", "dollar"] = Field("beta", description="Legs in the hedge ratio, or of equal value.")
    gate: Literal["cointegration", "sentinel"] | None = Field(None, description="Enter only while this allows it.")
    latency_ms: Annotated[int, Field(ge=0, le=60_000)] | None = Field(
        None, description="Fill at the first stored trade so long after the decision."
    )
    round_steps: bool = Field(True, description="Round quantities to the exchange's steps, where they are known.")

    def document(self) -> dict[str, Any]:
        """Return what was given, with times in ms."""
        given = self.model_dump(exclude_unset=True)
        for name in ("start", "end"):
            if given.get(name) is not None:
                given[name] //= 1_000_000
        return given


class BacktestIn(_Question):
    """One rule."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "y": "ETHUSDT",
                    "x": "BTCUSDT",
                    "timeframe": "1m",
                    "hedge": {"method": "ols", "lookback": 1440},
                    "window": 60,
                    "entry": 2.0,
                    "exit": 0.5,
                    "fee_bps": 4,
                    "slippage_bps": 1,
                }
            ]
        }
    )

    hedge: Annotated[HedgeIn, BeforeValidator(_hedge)] = Field(
        default_factory=HedgeIn, description="How it is hedged; a number is a fixed ratio."
    )
    window: Window = Field(60, description="Bars of the z-score.")
    entry: Threshold = Field(2.0, description="Enter where |z| is at least this.")
    exit: Z = Field(0.5, description="Leave where the held spread's |z| is at most this.")
    stop: Threshold | None = Field(None, description="Give up where |z| is at least this.")
    max_holding: Bars | None = Field(None, description="Bars after which a trade is closed.")
    cooldown: Pause = Field(0, description="Bars without an entry after a stop.")
    rehedge: Drift | None = Field(None, description="Hedge anew where beta has moved by this share.")


class HedgesIn(_Asked):
    """Whose hedge ratios are tried."""

    method: Several[Method] = ["ols"]
    lookback: Several[Lookback] = [1440]
    beta: Several[Ratio] | None = None


class SweepIn(_Question):
    """Many rules: a list wherever a number may vary; costs of each leg are a list in a list."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "y": "ETHUSDT",
                    "x": "BTCUSDT",
                    "hedge": {"method": "ols", "lookback": [720, 1440]},
                    "window": [30, 60, 120],
                    "entry": [1.5, 2.0, 2.5],
                    "exit": [0.0, 0.5],
                }
            ]
        }
    )

    hedge: Annotated[HedgesIn, BeforeValidator(_hedge)] = Field(default_factory=HedgesIn)
    window: Several[Window] = [60]
    entry: Several[Threshold] = [2.0]
    exit: Several[Z] = [0.5]
    stop: Several[Threshold | None] = [None]
    max_holding: Several[Bars | None] = [None]
    cooldown: Several[Pause] = [0]
    rehedge: Several[Drift | None] = [None]
    notional: Several[Money] = [10_000.0]  # type: ignore[assignment]
    capital: Several[Money | None] = [None]  # type: ignore[assignment]
    fee_bps: Several[Bps | tuple[Bps, Bps]] = [4.0]  # type: ignore[assignment]
    slippage_bps: Several[Bps | tuple[Bps, Bps]] = [1.0]  # type: ignore[assignment]
    slippage_range: Several[Share] = [0.0]  # type: ignore[assignment]

    _varied: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="wrap")
    @classmethod
    def _note_lists(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Note what came as a list: that is a column of the table, also with one value."""
        made = handler(given)
        if isinstance(given, dict):
            hedge = _hedge(given.get("hedge"))
            parts = {**given, **(hedge if isinstance(hedge, dict) else {})}
            made._varied = frozenset(name for name, value in parts.items() if isinstance(value, list))
        return made

    def document(self) -> dict[str, Any]:
        """Return what was given: a list where one was, else the value; times in ms."""
        given = super().document()
        return self._as_given(given) | ({"hedge": self._as_given(given["hedge"])} if "hedge" in given else {})

    def _as_given(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value[0] if isinstance(value, list) and name not in self._varied else value
            for name, value in fields.items()
        }


class WalkForwardIn(SweepIn):
    """Many rules, chosen in training stretches and traded in the test stretches that follow."""

    folds: Annotated[int, Field(ge=2, le=100)] = Field(5, description="How often parameters are chosen anew.")
    train: Bars | None = Field(None, description="Bars of a training stretch; by default twice a test stretch.")
    test: Bars | None = Field(None, description="Bars of a test stretch; by default what the folds leave.")
    purge: Pause | None = Field(
        None, description="Bars between the two; by default the longest lookback, window or holding."
    )
    anchored: bool = Field(False, description="true: train on all bars from the first on.")
    metric: Literal["sharpe", "sortino", "total_return", "calmar", "profit_factor"] = Field(
        "sharpe", description="By which parameters are chosen."
    )
