"""Who trades on the synthetic market: names, price grids, trading rates, factor loadings and planted pairs."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, log10

import numpy as np

from pairscope.feed.agg_trades import Listing
from pairscope.market.ticks import F8, I8

__all__ = ["MAX_SYMBOLS", "SECTORS", "PlantedPair", "Universe", "make_universe"]

MAX_SYMBOLS = 1000
SECTORS = 8

_KNOWN = (
    ("BTC", 61_800.0), ("ETH", 2_680.0), ("SOL", 152.0), ("XRP", 0.61), ("DOGE", 0.107), ("BNB", 512.0),
    ("ADA", 0.345), ("AVAX", 22.4), ("LINK", 10.6), ("SUI", 0.93), ("LTC", 60.3), ("PEPE", 0.00001234),
    ("DOT", 4.62), ("BCH", 342.0), ("NEAR", 3.95), ("APT", 6.05), ("币安人生", 0.1873), ("ETC", 18.9),
    ("FIL", 3.61), ("ARB", 0.562), ("OP", 1.42), ("TRX", 0.128), ("UNI", 5.98), ("ATOM", 5.02),
    ("AAVE", 98.7), ("INJ", 17.6), ("TIA", 5.31), ("SEI", 0.289), ("WLD", 1.61), ("ORDI", 28.4),
    ("SHIB", 0.00001386), ("RUNE", 3.62), ("XLM", 0.0991), ("GALA", 0.0177), ("SAND", 0.2418), ("MANA", 0.2683),
    ("FTM", 0.3612), ("ICP", 7.63), ("STX", 1.49), ("LDO", 1.03), ("MKR", 2_020.0), ("CRV", 0.279),
    ("DYDX", 0.967), ("SNX", 1.32), ("COMP", 44.8), ("GRT", 0.1489), ("ALGO", 0.1231), ("VET", 0.02231),
    ("EGLD", 25.7), ("AXS", 4.61), ("THETA", 1.27), ("EOS", 0.483), ("XTZ", 0.661), ("NEO", 9.27),
    ("KAVA", 0.288), ("ZEC", 30.2), ("DASH", 23.1), ("ENJ", 0.1391), ("CHZ", 0.0519), ("BONK", 0.00001927),
)  # fmt: skip

# Rank of y, rank of x, beta, half-life in seconds, standard deviation of the spread.
_PAIRS = (
    (1, 0, 1.25, 2_700.0, 0.0060),
    (7, 2, 0.90, 1_500.0, 0.0055),
    (13, 10, 1.10, 3_600.0, 0.0070),
    (19, 20, 0.80, 5_400.0, 0.0080),
    (17, 32, 1.00, 7_200.0, 0.0090),
    (34, 35, 1.15, 2_400.0, 0.0075),
    (41, 42, 0.75, 9_000.0, 0.0100),
    (47, 46, 1.30, 4_500.0, 0.0085),
    (55, 56, 0.95, 10_800.0, 0.0100),
    (70, 64, 1.05, 3_000.0, 0.0080),
    (88, 75, 0.85, 6_300.0, 0.0110),
    (120, 98, 1.20, 14_400.0, 0.0120),
)

_HEADS = ("KA", "ZO", "MI", "LU", "VE", "RA", "TO", "SY", "NE", "QU", "BRA", "FI", "DRO", "ALT", "HYP", "ORB", "PLU")
_TAILS = ("RA", "NO", "X", "TIS", "LO", "DEX", "MA", "VIA", "GEN", "PAY", "KIN", "SOL")
_TYPICAL_LOTS = 8.0


@dataclass(frozen=True, slots=True)
class PlantedPair:
    """Two symbols that are cointegrated by construction.

    ``log y = alpha + beta * log x + s``, where ``s`` is an Ornstein-Uhlenbeck process around 0 with the stated
    ``half_life_s`` (seconds) and stationary standard deviation ``spread_std``.
    """

    y: str
    x: str
    alpha: float
    beta: float
    half_life_s: float
    spread_std: float


@dataclass(frozen=True, slots=True, eq=False)
class Universe:
    """The listed symbols, busiest first, as columns; ``leg_x`` is the rank of a planted y's x, -1 for the others.

    ``rate`` is aggregate trades a second, averaged over months; ``volatility`` that of the symbol's own part, per
    square root of a day; ``half_spread`` half the bid-ask spread relative to the price; ``typical_size`` the median
    size in units of the listing.
    """

    listings: tuple[Listing, ...]
    pairs: tuple[PlantedPair, ...]
    rate: F8
    log_price: F8
    market_beta: F8
    sector_beta: F8
    sector: I8
    volatility: F8
    leg_x: I8
    alpha: F8
    beta: F8
    half_life_s: F8
    spread_std: F8
    half_spread: F8
    typical_size: F8


def make_universe(symbols: int, seed: int, ticks_per_second: float | None) -> Universe:
    """Return the first ``symbols`` ranks of the market; with a total rate where ``ticks_per_second`` states one.

    A symbol does not depend on how many others there are, only its rate does where the total is given.
    """
    ranks = np.arange(MAX_SYMBOLS)
    random = np.random.default_rng([seed, 1])
    rate = _rates(ranks, random)[:symbols]
    if ticks_per_second is not None:
        rate = rate * (ticks_per_second / rate.sum())
    names, prices = _names(random)
    market_beta = random.uniform(0.7, 1.4, MAX_SYMBOLS)
    sector_beta = random.uniform(0.5, 1.2, MAX_SYMBOLS)
    sector = random.integers(0, SECTORS, MAX_SYMBOLS)
    volatility = random.uniform(0.02, 0.055, MAX_SYMBOLS)
    market_beta[0], volatility[0] = 1.0, 0.012
    columns = {name: np.zeros(MAX_SYMBOLS) for name in ("alpha", "beta", "half_life_s", "spread_std")}
    leg_x = np.full(MAX_SYMBOLS, -1)
    pairs = []
    for y, x, beta, half_life_s, spread_std in _PAIRS:
        if max(x, y) >= symbols:
            continue
        alpha = log(prices[y]) - beta * log(prices[x])
        leg_x[y] = x
        for name, value in zip(columns, (alpha, beta, half_life_s, spread_std), strict=True):
            columns[name][y] = value
        pairs.append(PlantedPair(names[y] + "USDT", names[x] + "USDT", alpha, beta, half_life_s, spread_std))
    listings = tuple(_listing(names[i], prices[i]) for i in range(symbols))
    notional = 60.0 + 340.0 * (1.0 + ranks[:symbols]) ** -0.3
    return Universe(
        listings,
        tuple(pairs),
        rate,
        np.log(np.array(prices[:symbols])),
        market_beta[:symbols],
        sector_beta[:symbols],
        sector[:symbols],
        volatility[:symbols],
        leg_x[:symbols],
        columns["alpha"][:symbols],
        columns["beta"][:symbols],
        columns["half_life_s"][:symbols],
        columns["spread_std"][:symbols],
        np.minimum(0.0004, 0.00001 * (1.0 + ranks[:symbols]) ** 0.5),
        notional
        / np.array(prices[:symbols])
        * np.array([10.0**listing.size_decimals for listing in listings])
        / _TYPICAL_LOTS,
    )


def _rates(ranks: I8, random: np.random.Generator) -> F8:
    """Aggregate trades a second by rank: a power law with noise, and a tail that goes minutes without a trade."""
    rate = np.minimum(38.0, 140.0 * (ranks + 1.0) ** -0.75) * np.exp(random.normal(0.0, 0.15, ranks.size))
    rate[:2] = 52.0, 44.0
    tail = np.clip((ranks - 420) / 180.0, 0.0, 1.0)
    return np.asarray(rate * np.exp(-5.0 * tail))


def _names(random: np.random.Generator) -> tuple[list[str], list[float]]:
    """Return base assets and reference prices by rank."""
    names = [name for name, _ in _KNOWN]
    prices = [price for _, price in _KNOWN]
    made = [head + tail for tail in _TAILS for head in _HEADS]
    made += ["1000" + name for name in made] + [name + str(k) for k in (2, 3, 4) for name in made]
    names += made[: MAX_SYMBOLS - len(names)]
    missing = MAX_SYMBOLS - len(prices)
    prices += [float(f"{exp(draw):.4g}") for draw in random.normal(-1.6, 2.2, missing).tolist()]
    return names, prices


def _listing(base: str, price: float) -> Listing:
    """Return the price grid and the step of a symbol by its price: four to six significant digits, as listed."""
    if price > 20_000:
        return Listing(base + "USDT", 2, 3, tick=10)
    magnitude = int(np.floor(log10(price)))
    price_decimals = int(np.clip(4 - magnitude, 2, 7)) if price >= 1e-4 else 8
    size_decimals = int(np.clip(magnitude, 0, 3))
    return Listing(base + "USDT", price_decimals, size_decimals)
