"""Compares the stored learning runs: ours against Stable-Baselines3's, method by method.

The seed is the unit: a run counts by its mean return over the stored start states. The
interval of the difference of means is Welch's at 95 %.
"""

import json
import math
from collections import defaultdict
from pathlib import Path

from learn_all import RESULTS as PEER
from learn_ours import RESULTS as OURS


def means(path: Path) -> dict[str, list[float]]:
    """Returns the mean return of every run, by method."""
    by_algo = defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        by_algo[row["algo"]].append(row["mean"])
    return by_algo


def moments(values: list[float]) -> tuple[float, float]:
    """Returns the mean and the squared standard error."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, variance / len(values)


def student_quantile(degrees: float) -> float:
    """Returns the 97.5 % quantile of Student's t, by bisection of its integral."""
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))
    scale /= math.sqrt(degrees * math.pi)

    def tail(t: float) -> float:
        # Simpson's rule of the density from 0 to t.
        n, total = 2000, 0.0
        for i in range(n + 1):
            x = t * i / n
            weight = 1 if i in (0, n) else 4 if i % 2 else 2
            total += weight * (1 + x * x / degrees) ** (-(degrees + 1) / 2)
        return 0.5 - scale * total * t / n / 3

    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > 0.025 else (low, middle)
    return low


def main() -> None:
    """Prints one line per method."""
    ours, peer = means(OURS), means(PEER)
    print("| method | ours (runs) | Stable-Baselines3 (runs) | difference, 95 % interval |")
    print("|---|---|---|---|")
    for algo in peer:
        (a, va), (b, vb) = moments(ours[algo]), moments(peer[algo])
        n, m = len(ours[algo]), len(peer[algo])
        degrees = (va + vb) ** 2 / (va**2 / (n - 1) + vb**2 / (m - 1))
        half = student_quantile(degrees) * math.sqrt(va + vb)
        interval = f"{a - b:+.1f} ({a - b - half:+.1f} … {a - b + half:+.1f})"
        print(f"| {algo} | {a:.1f} ({n}) | {b:.1f} ({m}) | {interval} |")


if __name__ == "__main__":
    main()
