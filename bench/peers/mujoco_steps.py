"""Times MuJoCo's step and its finite-difference Jacobians on Gymnasium's hopper and half-cheetah.

One step is `mj_step` with semi-implicit Euler integration; a Jacobian is `mjd_transitionFD`
(one-sided differences). A control step of our own models has 16 substeps.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import gymnasium
import mujoco
import numpy as np

MODELS = {"hopper": "hopper.xml", "halfcheetah": "half_cheetah.xml"}
WINDOWS, CALLS = 60, 100


def windows(call) -> list[float]:
    """Returns microseconds per call of consecutive windows, without the first."""
    times = []
    for window in range(WINDOWS + 1):
        begin = time.perf_counter()
        for _ in range(CALLS):
            call()
        if window > 0:
            times.append(1e6 * (time.perf_counter() - begin) / CALLS)
    return times


def steps(model, data) -> list[float]:
    """Steps in one call of the library per window, so that Python's own time does not count."""
    times = []
    for window in range(WINDOWS + 1):
        mujoco.mj_resetData(model, data)
        data.qvel[:] = 0.1
        begin = time.perf_counter()
        mujoco.mj_step(model, data, nstep=CALLS)
        if window > 0:
            times.append(1e6 * (time.perf_counter() - begin) / CALLS)
    return times


def main() -> None:
    """Prints one JSON line per model and case."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    for name, file in MODELS.items():
        model = mujoco.MjModel.from_xml_path(str(assets / file))
        model.opt.integrator = mujoco.mjtIntegrator.mjINT_EULER
        data = mujoco.MjData(model)
        size = 2 * model.nv + model.na
        a, b = np.zeros((size, size)), np.zeros((size, model.nu))

        def jacobians():
            mujoco.mjd_transitionFD(model, data, 1e-6, False, a, b, None, None)

        for case, times in (
            ("step", steps(model, data)),
            ("jacobians", windows(jacobians)),
        ):
            row = {
                "robot": name,
                "name": case,
                "peer": "mujoco",
                "microseconds_median": statistics.median(times),
                "microseconds_min": min(times),
                "n": len(times),
            }
            print(json.dumps(row))


if __name__ == "__main__":
    main()
