"""What is known of scores: functions given by their values, and the rates that are read from them."""

import math
from dataclasses import dataclass
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of errors. Beyond the data that it was measured on it is `extrapolated`."""

    value: float
    extrapolated: bool


class ScoreTable(BaseModel):
    """A function of the score, linear between evenly spaced knots and constant outside of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start: float
    step: float = Field(gt=0)
    values: tuple[float, ...] = Field(min_length=2)

    @property
    def end(self) -> float:
        return self.start + self.step * (len(self.values) - 1)

    def at(self, score: float) -> float:
        """The value at a score; a score that is not a number is a `ValueError`, never a value."""
        if math.isnan(score):
            raise ValueError("a score must be a number")
        place = (score - self.start) / self.step
        if place <= 0:
            return self.values[0]
        index = math.floor(min(place, len(self.values)))
        if index >= len(self.values) - 1:
            return self.values[-1]
        low, high = self.values[index], self.values[index + 1]
        return low + (high - low) * (place - index)

    def first_at_least(self, value: float) -> float | None:
        """The lowest score at which a rising table reaches `value`, None if it never does."""
        if value <= self.values[0]:
            return self.start
        for index, (low, high) in enumerate(pairwise(self.values)):
            if high >= value:
                return self.start + self.step * (index + (value - low) / (high - low))
        return None
