"""Times Crocoddyl in one thread: the arm's passes and solve, the unicycle and an MPC tick.

    python crocoddyl_times.py [--seconds 20] [--only NAME]

Prints a JSON list of rows `name`, `peer`, `unit`, `min`, `median`, `n`. The time is
divided among the rows, which take turns. A window repeats a row's call for about 4 ms,
or is a single longer call, after one call that is not counted and brings the row's
data into the caches. Times per knot and per iteration are those of a whole call divided
by knots or iterations.

The package that pip installs is compiled for any x86-64 processor. The problems are
C++ throughout, Python only calls them: one call costs below a microsecond, and a solve
some further microseconds for the guess it is given.
"""

import argparse
import gc
import itertools
import json
import statistics
import sys
import time

import crocoddyl
import numpy as np

import crocoddyl_models as models

WINDOW = 4e-3
UNICYCLE_START = (-1.0, -1.0, 1.0)
HORIZONS = (20, 50, 100, 200)
FIXED_ITERATIONS = 6


def guess(problem, controls):
    """Returns the start at every knot and the same controls.

    They are Crocoddyl's own vectors, so that no timed call converts a list.
    """
    horizon = problem.T
    xs, us = crocoddyl.StdVec_VectorXs(), crocoddyl.StdVec_VectorXs()
    xs.extend([problem.x0.copy()] * (horizon + 1))
    us.extend([np.array(controls)] * horizon)
    return xs, us


def arm_passes():
    """Yields the passes of one iteration at the arm's guess, per knot of a horizon of 100."""
    horizon = 100
    start = models.ARM_STARTS["x0"]
    problem = models.arm(start, horizon)
    xs, us = guess(problem, models.arm_gravity(start))
    solver = crocoddyl.SolverFDDP(problem)
    solver.solve(xs, us, 3, False)
    solver.computeDirection(True)
    calls = {
        "calc": lambda: problem.calc(xs, us),
        "calc_diff": lambda: problem.calcDiff(xs, us),
        "backward": solver.backwardPass,
        "forward": lambda: solver.forwardPass(1.0),
    }
    for name, call in calls.items():
        yield f"arm_t{horizon}_{name}_per_knot", call, horizon


def arm_solve():
    """Yields the arm's whole solve from its usual start."""
    for horizon in (100, 200):
        start = models.ARM_STARTS["x0"]
        problem = models.arm(start, horizon)
        xs, us = guess(problem, models.arm_gravity(start))
        solver = crocoddyl.SolverFDDP(problem)
        # A solver is used again and again: everything but the guess is kept allocated.
        yield f"arm_t{horizon}_solve_fddp", lambda s=solver, x=xs, u=us: s.solve(x, u, 1000), 1


def unicycle_solves():
    """Yields iterations and whole solves of the unicycle."""
    kinds = {"ilqr": crocoddyl.SolverDDP, "fddp": crocoddyl.SolverFDDP}
    for horizon in HORIZONS:
        for kind, make in kinds.items():
            problem = models.unicycle(UNICYCLE_START, horizon, 1.0, 1.0)
            xs, us = guess(problem, [0.0, 0.0])
            solver = make(problem)
            name = f"unicycle_t{horizon}"
            yield (
                f"{name}_iteration_{kind}",
                lambda s=solver, x=xs, u=us: s.solve(x, u, FIXED_ITERATIONS),
                FIXED_ITERATIONS,
            )
            yield f"{name}_solve_{kind}", lambda s=solver, x=xs, u=us: s.solve(x, u, 1000), 1


def unicycle_ticks():
    """Yields a warm tick of model predictive control: solve, from a guess shifted by one knot.

    Twenty ticks in turns, whose guesses were made beforehand by ticks of the same kind.
    """
    horizon = 50
    for iterations in (1, 2):
        problem = models.unicycle(UNICYCLE_START, horizon, 1.0, 1.0)
        solver = crocoddyl.SolverFDDP(problem)
        solver.solve(*guess(problem, [0.0, 0.0]), 1000)
        ticks = []
        for _ in range(20):
            xs, us = crocoddyl.StdVec_VectorXs(), crocoddyl.StdVec_VectorXs()
            xs.extend([np.array(x) for x in (*solver.xs[1:], solver.xs[-1])])
            us.extend([np.array(u) for u in (*solver.us[1:], solver.us[-1])])
            ticks.append((np.array(xs[0]), xs, us))
            problem.x0 = ticks[-1][0]
            solver.solve(xs, us, iterations, False)

        def tick(problem=problem, solver=solver, turn=itertools.cycle(ticks), limit=iterations):
            problem.x0, xs, us = next(turn)
            solver.solve(xs, us, limit, False)

        yield f"unicycle_t{horizon}_tick_{iterations}", tick, 1


def all_rows():
    """Yields name, call and divisor of every row."""
    yield from arm_passes()
    yield from arm_solve()
    yield from unicycle_solves()
    yield from unicycle_ticks()


def measure(rows, seconds: float) -> list[dict]:
    """Measures rows in turns for about so many seconds."""
    clock = time.perf_counter
    repeats, samples = [], [[] for _ in rows]
    for _, call, _ in rows:
        call()
        begin = clock()
        call()
        repeats.append(max(1, round(WINDOW / (clock() - begin))))
    gc.disable()
    end = clock() + seconds
    while clock() < end or min(map(len, samples)) < 10:
        for (_, call, divisor), count, kept in zip(rows, repeats, samples):
            call()
            begin = clock()
            for _ in range(count):
                call()
            kept.append(1e6 * (clock() - begin) / (count * divisor))
    gc.enable()
    return [
        {
            "name": name,
            "peer": "crocoddyl",
            "unit": "us",
            "min": min(kept),
            "median": statistics.median(kept),
            "n": len(kept),
        }
        for (name, _, _), kept in zip(rows, samples)
    ]


def main() -> None:
    """Reads the arguments, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="for all rows together")
    parser.add_argument("--only", action="append", help="only rows whose names contain this")
    arguments = parser.parse_args()
    chosen = [
        row
        for row in all_rows()
        if not arguments.only or any(part in row[0] for part in arguments.only)
    ]
    if not chosen:
        sys.exit("no such row")
    json.dump(measure(chosen, arguments.seconds), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
