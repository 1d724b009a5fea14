//! Where solves start: initial states, and trajectories of earlier solves.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use ddp::Guess;
use dynamics::{AnyDynamics, Stream, Task, check_vector};
use nalgebra::DVector;
use serde::Deserialize;

/// A state of the command line: numbers separated by commas.
///
/// # Errors
/// A part that is no number, a state that does not fit the task.
pub(super) fn parse(text: &str, task: &dyn Task) -> Result<DVector<f64>> {
    let entry = |(i, part): (usize, &str)| {
        part.trim().parse().map_err(|_| anyhow!("x0[{i}] is `{part}`, which is no number"))
    };
    state(text.split(',').enumerate().map(entry).collect::<Result<_>>()?, task)
}

/// The states in a file, one list on each line that is not blank.
///
/// # Errors
/// A file that cannot be read or holds none, a line that is no state of the task, by its number.
pub(super) fn read(file: &Path, task: &dyn Task) -> Result<Vec<DVector<f64>>> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the starts in `{}`", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let starts: Vec<_> = lines
        .map(|(i, line)| {
            let list = serde_json::from_str(line).context("it is no list of numbers");
            list.and_then(|list| state(list, task))
                .with_context(|| format!("line {} of `{}` is no start", i + 1, file.display()))
        })
        .collect::<Result<_>>()?;
    ensure!(
        !starts.is_empty(),
        "`{}` holds no start; write one list [a, b, …] on each line",
        file.display()
    );
    Ok(starts)
}

/// `n` states as the task draws them; the first ones do not depend on how many follow.
pub(super) fn draw(task: &dyn Task, n: u32, seed: u64) -> Vec<DVector<f64>> {
    let start = |i: u32| {
        let mut x0 = DVector::zeros(task.plant().any_nx());
        task.sample_x0(&mut Stream::new(seed, "solve command", i.into()), &mut x0);
        x0
    };
    (0..n).map(start).collect()
}

fn state(entries: Vec<f64>, task: &dyn Task) -> Result<DVector<f64>> {
    let (found, nx) = (entries.len(), task.plant().any_nx());
    ensure!(
        found == nx,
        "x0 has {found} entries, but `{}` needs {nx}: {}",
        task.name(),
        task.state_names().join(", ")
    );
    check_vector(task.name(), "x0", &entries, nx)?;
    Ok(DVector::from_vec(entries))
}

/// The trajectory of an earlier solve.
pub(super) struct WarmStart {
    xs: Vec<DVector<f64>>,
    us: Vec<DVector<f64>>,
}

/// What is read of a saved solution.
#[derive(Deserialize)]
struct Saved {
    xs: Vec<Vec<f64>>,
    us: Vec<Vec<f64>>,
}

impl WarmStart {
    /// Reads what `solve --save` or `--full` wrote.
    ///
    /// # Errors
    /// A file that is no saved solution, or one of another horizon or model.
    pub(super) fn read(file: &Path, model: &dyn AnyDynamics, horizon: usize) -> Result<Self> {
        let name = file.display();
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the warm start in `{name}`"))?;
        let Saved { xs, us } = serde_json::from_str(&text).with_context(|| {
            format!("`{name}` is no finite trajectory; write one with `cargo xtask solve --save`")
        })?;
        ensure!(
            us.len() == horizon && xs.len() == horizon + 1,
            "`{name}` has {} states and {} controls, but {horizon} steps need {} and {horizon}; \
             solve with the horizon of the file, --horizon {1}",
            xs.len(),
            us.len(),
            horizon + 1
        );
        let check = |what, list: &[Vec<f64>], size| {
            list.iter().try_for_each(|entries| check_vector(model.any_name(), what, entries, size))
        };
        check("a state", &xs, model.any_nx())
            .and_then(|()| check("a control", &us, model.any_nu()))
            .with_context(|| format!("the trajectory in `{name}` does not fit"))?;
        let vectors = |list: Vec<_>| list.into_iter().map(DVector::from_vec).collect();
        Ok(Self { xs: vectors(xs), us: vectors(us) })
    }

    pub(super) fn guess(&self) -> Guess<'_> {
        Guess::Trajectory(&self.xs, &self.us)
    }
}
