"""How a destination's concurrency answers to success and failure: *_destination_concurrency_positive_feedback and
*_negative_feedback. Source: Postfix's SCHEDULER_README.

    feedback = parse_feedback("1 / sqrt_concurrency")        None: neither of the forms
    feedback.at(16) -> 0.25

Forms: "N", "N / M", "N / concurrency", "N / sqrt_concurrency"; the result is within 0..1.
"""

import math
import re
from typing import NamedTuple

_FORM = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:/\s*(\d+(?:\.\d*)?|\.\d+|concurrency|sqrt_concurrency)\s*)?")


class Feedback(NamedTuple):
    """value: at a concurrency of 1. per: "" (the same at any), "concurrency" or "sqrt_concurrency"."""

    value: float = 1.0
    per: str = ""

    def at(self, concurrency: int) -> float:
        """The feedback of one delivery to a destination that may have so many at once (1 or more)."""
        if not self.per:
            return self.value
        return self.value / (concurrency if self.per == "concurrency" else math.sqrt(concurrency))


def parse_feedback(text: str) -> Feedback | None:
    """None for what is no feedback, or none within 0..1."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    value, divisor = float(match[1]), match[2] or ""
    per = divisor if divisor.endswith("concurrency") else ""
    if divisor and not per:
        if float(divisor) == 0.0:
            return None
        value /= float(divisor)
    return Feedback(value, per) if value <= 1.0 else None
