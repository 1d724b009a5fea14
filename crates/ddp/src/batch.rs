//! Many starts at once.

use dynamics::{Cost, Dynamics, TerminalCost};
use nalgebra::DVector;
use rayon::prelude::*;

use crate::{DdpError, Guess, Method, Problem, Settings, Solution, Solver};

/// Solves `problem` from every start, on all cores, each thread with a workspace of its own. `guess`
/// is asked for the guess of each start by its position. The results are in order and do not depend
/// on the number of threads.
///
/// # Errors
/// As [`Solver::new`]; what fails for one start only is in that start's place.
pub fn solve_batch<'g, D: Dynamics, C: Cost, E: TerminalCost>(
    problem: &Problem<'_, D, C, E>,
    method: Method,
    settings: &Settings,
    starts: &[DVector<f64>],
    guess: impl Fn(usize) -> Guess<'g> + Sync,
) -> Result<Vec<Result<Solution, DdpError>>, DdpError> {
    // The threads are used up by the starts.
    let settings = Settings { threads: 1, ..settings.clone() };
    Solver::new(*problem, method, settings.clone())?;
    Ok(starts
        .par_iter()
        .enumerate()
        .map_init(
            || Solver::new(*problem, method, settings.clone()),
            |solver, (i, x0)| match solver {
                Ok(solver) => solver.solve(x0, guess(i)),
                Err(error) => Err(error.clone()),
            },
        )
        .collect())
}
