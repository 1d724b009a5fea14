//! Running the cells that are missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use agents::RESULT_FILE;
use anyhow::{Context as _, Result};

use super::cell::{Cell, Experiment, Work};
use super::{Planned, STORE};
use crate::cell::CellOutcome;
use crate::progress::Display;

/// Runs the cells of the figures that are not whole in the store below `out`, ground truth first;
/// `share` gives the number of cells at once, and of the threads of each, for a number of cells.
/// Returns how many cells there are and what failed, in words.
///
/// # Errors
/// A store that cannot be made, threads that the system does not give.
pub(crate) fn run_missing(
    out: &Path,
    planned: &[Planned],
    share: impl Fn(usize) -> (usize, usize),
    stop: &AtomicBool,
) -> Result<(usize, Vec<String>)> {
    let root = out.join(STORE);
    std::fs::create_dir_all(&root)
        .with_context(|| format!("cannot create the folder `{}`", root.display()))?;
    let mut cells = BTreeMap::new();
    for cell in planned.iter().flat_map(|p| &p.cells) {
        cells.insert(cell.id()?, cell);
    }
    let n_cells = cells.len();
    let display = Display::new(n_cells, cells.values().map(|cell| cell.steps()).sum());
    let mut missing = Vec::new();
    for (id, cell) in cells {
        if root.join(&id).join(RESULT_FILE).exists() {
            display.found(cell.steps());
        } else {
            missing.push((id, cell));
        }
    }
    let is_truth = |cell: &Cell| {
        matches!(cell.experiment, Experiment::Truth(_) | Experiment::DiscountedTruth(_))
    };
    // Ground truth before what is measured against it; then seed by seed, so that curves grow
    // evenly.
    missing.sort_by_key(|(_, cell)| (!is_truth(cell), cell.seed));
    let n_truths = missing.iter().filter(|(_, cell)| is_truth(cell)).count();
    display.line(&format!(
        "{n_cells} cells of values, {} of them to run (Ctrl-C stops, the same command goes on)",
        missing.len()
    ));
    let (truths, others) = missing.split_at(n_truths);
    let failures = Mutex::new(Vec::new());
    // Many starts are solved for ground truth, so one cell keeps all threads busy.
    let (jobs, threads) = share(n_cells);
    run_all(&root, truths, (1, jobs * threads), stop, &display, &failures)?;
    run_all(&root, others, share(others.len()), stop, &display, &failures)?;
    display.finish();
    Ok((n_cells, failures.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

fn run_all(
    root: &Path,
    cells: &[(String, &Cell)],
    (jobs, threads): (usize, usize),
    stop: &AtomicBool,
    display: &Display,
    failures: &Mutex<Vec<String>>,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((id, cell)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let mut shown = display.cell(id, cell.steps());
            let outcome = cell.run(root, &mut Work::new(stop, &mut |steps| shown.at(steps)));
            match outcome {
                Ok(CellOutcome::Done | CellOutcome::Found) => shown.done(),
                Ok(CellOutcome::Interrupted(_)) => {
                    display.line(&format!("{id}: stopped; it will begin anew"));
                }
                Err(error) => {
                    let text = format!("{error:#}");
                    failures.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                }
            }
        }
    };
    let pool = |_| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pools: Vec<_> = (0..jobs).map(pool).collect::<Result<_, _>>()?;
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| pool.install(work));
        }
    });
    Ok(())
}
