"""Times single updates of the peers, PyTorch and jitted JAX, on fixed shapes.

Cases: an update of SAC and of VG-SAC (batch 256), an epoch of Sobolev training
(100 samples, f64) and an evaluation of the policy at one state. Samples of all
cases and peers are interleaved, so that drifts of the machine meet all alike.
"""

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, field

PEERS = {"pytorch": "updates_torch", "jax": "updates_jax"}
# Calls per sample: a sample of VG-SAC spans exactly one period of its coefficients.
CALLS = {"sac_update": 20, "vg_sac_update": 20, "sobolev_epoch": 100, "policy_forward": 2000}


@dataclass(frozen=True)
class Shapes:
    """Sizes of the networks and of the batch."""

    batch: int = 256
    state: int = 6
    action: int = 1
    actor_width: int = 256
    critic_width: int = 512
    low: list[float] = field(default_factory=lambda: [-2.0])
    high: list[float] = field(default_factory=lambda: [2.0])


def limit_threads(threads: int) -> None:
    """Restricts the process to some processors; must precede the peers' import.

    XLA sizes its thread pool by the processors that the process may use and has
    no other setting for it; PyTorch's is set to the same number.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        sys.exit(f"{threads} threads asked for, but only {len(allowed)} processors are available")
    os.sched_setaffinity(0, allowed[:threads])
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def build_cases(peers: list[str], names: list[str]):
    """Returns {(name, peer): function of no arguments}."""
    import numpy as np

    shapes = Shapes()
    rng = np.random.default_rng(0)
    width = shapes.state + shapes.action
    batch = {
        "state": rng.standard_normal((shapes.batch, shapes.state)),
        "action": rng.uniform(-2, 2, (shapes.batch, shapes.action)),
        "reward": rng.standard_normal(shapes.batch),
        "next_state": rng.standard_normal((shapes.batch, shapes.state)),
        "mask": (rng.uniform(size=shapes.batch) > 0.02).astype(float),
        "jacobian": 0.3 * rng.standard_normal((shapes.batch, shapes.state, width)),
        "reward_gradient": rng.standard_normal((shapes.batch, width)),
    }
    states = rng.standard_normal((100, 3))
    values, slopes = (states**2).sum(1), 2 * states

    cases = {}
    for peer in peers:
        module = importlib.import_module(PEERS[peer])
        builders = {
            "sac_update": lambda: module.update_case(shapes, batch, False),
            "vg_sac_update": lambda: module.update_case(shapes, batch, True),
            "sobolev_epoch": lambda: module.sobolev_case(states, values, slopes),
            "policy_forward": lambda: module.policy_case(shapes),
        }
        for name in names:
            cases[name, peer] = builders[name]()
    return cases


def measure(cases, samples: int):
    """Returns {(name, peer): milliseconds per call of every sample}."""
    times = {key: [] for key in cases}
    # The first round compiles, fills caches and is not counted.
    for sample in range(samples + 1):
        for key, call in cases.items():
            calls = CALLS[key[0]]
            begin = time.perf_counter()
            for _ in range(calls):
                call()
            if sample > 0:
                times[key].append(1e3 * (time.perf_counter() - begin) / calls)
    return times


def main() -> None:
    """Reads the arguments, measures and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--samples", type=int, default=7, help="timed samples of each case")
    parser.add_argument("--peer", choices=[*PEERS, "all"], default="all")
    parser.add_argument("--only", choices=list(CALLS), action="append", help="measure this case")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    arguments = parser.parse_args()

    limit_threads(arguments.threads)
    peers = list(PEERS) if arguments.peer == "all" else [arguments.peer]
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    times = measure(build_cases(peers, arguments.only or list(CALLS)), arguments.samples)
    results = [
        {
            "name": name,
            "peer": peer,
            "threads": arguments.threads,
            "milliseconds_median": statistics.median(values),
            "milliseconds_min": min(values),
            "n": len(values),
        }
        for (name, peer), values in times.items()
    ]
    if arguments.json:
        print(json.dumps(results))
        return
    for row in results:
        print(
            f"{row['name']:15} {row['peer']:8} {row['threads']} threads: "
            f"median {row['milliseconds_median']:.4f} ms, least {row['milliseconds_min']:.4f} ms"
        )


if __name__ == "__main__":
    main()
