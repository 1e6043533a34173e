"""How numbers and names are written."""

import math
from collections.abc import Mapping
from typing import Any, Final

ABSENT: Final = "–"
ERRORS: Final = ("_error", "fvu")


def score_text(value: float | None, name: str = "") -> str:
    """A score: decibels and errors in their own way, all others to three decimals.

    >>> score_text(0.11349), score_text(-0.02), score_text(float("nan"))
    ('0.113', '−0.020', '–')
    >>> score_text(30.88, "activation_snr"), score_text(float("inf"), "start_activation_snr")
    ('30.9 dB', '∞')
    """
    if value is None or math.isnan(value):
        return ABSENT
    if name.endswith(ERRORS):
        return error_text(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.1f} dB" if name.endswith("_snr") else f"{value:.3f}"
    return text.replace("-", "−")


def error_text(value: float | None) -> str:
    """An error to three digits.

    >>> error_text(0.006714), error_text(1.0), error_text(6.7e-06), error_text(float("inf"))
    ('0.00671', '1.00', '6.70·10⁻⁶', '–')
    >>> error_text(-0.0465)  # an end of an interval
    '−0.0465'
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    if value < 0:
        return f"−{error_text(-value)}"
    power = _power(value)
    if _plain(value):
        return f"{value:.{max(0, 2 - power)}f}"
    return f"{value / 10.0**power:.2f}·{ten(power)}"


def spread_text(spread: float, mean: float, name: str = "") -> str:
    """A standard deviation to the digits of the mean that it stands beside.

    >>> spread_text(0.000123, 0.006714, "activation_error")
    '0.00012'
    >>> spread_text(1e-7, 6.7e-06, "activation_error"), spread_text(0.0123, 0.5)
    ('0.10·10⁻⁶', '0.012')
    """
    if not (math.isfinite(spread) and math.isfinite(mean)):
        return ABSENT
    if not name.endswith(ERRORS):
        return score_text(spread, name).removesuffix(" dB")
    power = _power(mean)
    if _plain(mean):
        return f"{spread:.{max(0, 2 - power)}f}"
    return f"{spread / 10.0**power:.2f}·{ten(power)}"


def p_text(p: float) -> str:
    """A p-value to two digits.

    >>> p_text(0.01), p_text(0.6666)
    ('0.01', '0.67')
    """
    return f"{p:.2g}"


def ten(power: int) -> str:
    """A power of ten.

    >>> ten(-3)
    '10⁻³'
    """
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def number(row: Mapping[str, Any], name: str) -> float:
    """A figure of a row, NaN where it has none.

    >>> number({"accuracy": None}, "accuracy"), number({"runs": 3}, "runs")
    (nan, 3.0)
    """
    value = row.get(name)
    return math.nan if value is None else float(value)


def shorten(text: str, most: int = 28) -> str:
    """A name that fits a title, in one line.

    >>> shorten("encoder.blocks.3.attention.out", 16)
    'encoder.blocks.…'
    """
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _plain(value: float) -> bool:
    return value == 0 or 1e-4 <= abs(value) < 1e4


def _power(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0
