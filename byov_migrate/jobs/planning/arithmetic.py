"""Estimates with a 90 % interval. Pure: plain numbers in and out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Z_90 = 1.645
"""Standard errors to either side that hold 90 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the interval that holds the true one 9 times in 10."""

    value: float
    low: float
    high: float

    @property
    def is_exact(self) -> bool:
        """Whether nothing was estimated."""
        return self.low == self.high

    @property
    def share(self) -> float:
        """The wider half of the interval, as a share of the value."""
        return max(self.high - self.value, self.value - self.low) / self.value if self.value else 0.0

    def times(self, factor: float) -> Estimate:
        """All three numbers, scaled."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def less(self, known: float) -> Estimate:
        """What is left of all three numbers, nothing at least."""
        return Estimate(*(max(number - known, 0.0) for number in (self.value, self.low, self.high)))

    def within(self, low: float, high: float) -> Estimate:
        """All three numbers, cut to what is possible."""
        return Estimate(*(min(max(number, low), high) for number in (self.value, self.low, self.high)))


def exactly(value: float) -> Estimate:
    """A number that is known."""
    return Estimate(value, value, value)


def spread(value: float, share: float) -> Estimate:
    """A number that may be wrong by this share of itself, to either side."""
    return Estimate(value, max(value * (1 - share), 0.0), value * (1 + share))


def mean_of(values: Sequence[float], population: int) -> Estimate:
    """The mean of `population` values of which these were drawn by chance; exact when they are all there are."""
    count = len(values)
    if count == 0:
        return exactly(0.0)
    mean = math.fsum(values) / count
    if count >= population:
        return exactly(mean)
    variance = math.fsum((value - mean) ** 2 for value in values) / max(count - 1, 1)
    error = math.sqrt(variance / count * (1 - count / population))
    return Estimate(mean, max(mean - Z_90 * error, 0.0), mean + Z_90 * error)


def share_of(flags: Sequence[bool], population: int) -> Estimate:
    """The share of a population of which these were drawn by chance, by Wilson's interval: never 0 to 0 for a few."""
    count = len(flags)
    if count == 0 or count >= population:
        return exactly(sum(flags) / count if count else 0.0)
    share, z2 = sum(flags) / count, Z_90**2
    z2 *= 1 - count / population
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return Estimate(share, min(centre - half, share), max(centre + half, share)).within(0.0, 1.0)


def product(first: Estimate, second: Estimate) -> Estimate:
    """Of two estimates that err independently."""
    value = first.value * second.value
    down = math.hypot(_below(first), _below(second))
    up = math.hypot(_above(first), _above(second))
    return Estimate(value, max(value * (1 - down), 0.0), value * (1 + up))


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Of estimates that may all err to the same side."""
    parts = list(estimates)
    return Estimate(*(math.fsum(getattr(part, name) for part in parts) for name in ("value", "low", "high")))


def greater(first: Estimate, second: Estimate) -> Estimate:
    """The slower of two things that go on at the same time."""
    return Estimate(max(first.value, second.value), max(first.low, second.low), max(first.high, second.high))


def _below(estimate: Estimate) -> float:
    return (estimate.value - estimate.low) / estimate.value if estimate.value else 0.0


def _above(estimate: Estimate) -> float:
    return (estimate.high - estimate.value) / estimate.value if estimate.value else 0.0
