"""Times MuJoCo's step and its finite-difference Jacobians on Gymnasium's hopper and half-cheetah.

One call is what compares with a control step of our own models of the same size: 16 times `mj_step`
with semi-implicit Euler integration, or 16 times `mjd_transitionFD` (one-sided differences). Every
window has 10 control steps from the same start, with some velocity, and the ground in reach.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import gymnasium
import mujoco
import numpy as np

MODELS = {"hopper": "hopper.xml", "halfcheetah": "half_cheetah.xml"}
CASES = [f"{name}-{case}" for name in MODELS for case in ("step", "jacobians")]
SUBSTEPS = 16
# Control steps of a window.
CALLS = 10


def start(model, data) -> None:
    """Puts the model where every window begins."""
    mujoco.mj_resetData(model, data)
    data.qvel[:] = 0.1


def stepping(model, data):
    """Returns a window of steps, in one call of the library: Python's own time does not count."""

    def run() -> None:
        start(model, data)
        mujoco.mj_step(model, data, nstep=SUBSTEPS * CALLS)

    return run


def linearizing(model, data):
    """Returns a window of Jacobians at the states that the control steps pass."""
    states = []
    start(model, data)
    for _ in range(CALLS):
        states.append((data.qpos.copy(), data.qvel.copy()))
        mujoco.mj_step(model, data, nstep=SUBSTEPS)
    size = 2 * model.nv + model.na
    a, b = np.zeros((size, size)), np.zeros((size, model.nu))

    def run() -> None:
        for qpos, qvel in states:
            data.qpos[:], data.qvel[:] = qpos, qvel
            for _ in range(SUBSTEPS):
                mujoco.mjd_transitionFD(model, data, 1e-6, False, a, b, None, None)

    return run


def measure(run, windows: int) -> list[float]:
    """Returns microseconds per control step of consecutive windows, without the first."""
    times = []
    for window in range(windows + 1):
        begin = time.perf_counter()
        run()
        if window > 0:
            times.append(1e6 * (time.perf_counter() - begin) / CALLS)
    return times


def row(case: str, windows: int) -> dict:
    """Measures one case."""
    robot, kind = case.split("-")
    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    model = mujoco.MjModel.from_xml_path(str(assets / MODELS[robot]))
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_EULER
    data = mujoco.MjData(model)
    window = (stepping if kind == "step" else linearizing)(model, data)
    times = measure(window, windows)
    return {
        "name": case,
        "peer": "mujoco",
        "threads": 1,
        "microseconds_median": statistics.median(times),
        "microseconds_min": min(times),
        "n": len(times),
    }


def main() -> None:
    """Prints the rows as a JSON list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--only", choices=CASES, action="append", help="measure this case")
    arguments = parser.parse_args()
    # MuJoCo writes its warnings into a file where it is started.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        rows = [row(case, arguments.windows) for case in arguments.only or CASES]
        os.chdir("/")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
