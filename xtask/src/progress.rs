//! How a user sees long work: bars on a terminal, plain lines elsewhere.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use agents::{CurveRow, Observer, Progress, Timing};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Progress of a set of cells, shared by the threads that run them.
pub(crate) struct Display {
    bars: MultiProgress,
    total: ProgressBar,
    state: Mutex<State>,
}

struct State {
    start: Instant,
    last_line: Instant,
    cells_done: usize,
    n_cells: usize,
    /// Steps of all cells, and those already there when we began.
    total_steps: u64,
    done_steps: u64,
    found_steps: u64,
}

/// Time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

impl Display {
    /// A display for `n_cells` cells of `total_steps` environment steps together.
    pub(crate) fn new(n_cells: usize, total_steps: u64) -> Self {
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new(total_steps));
        total.set_style(style("{prefix:>36.bold} {bar:30.green} {percent:>3} %  {msg}"));
        total.set_prefix("all cells");
        let start = Instant::now();
        Self {
            bars,
            total,
            state: Mutex::new(State {
                start,
                last_line: start,
                cells_done: 0,
                n_cells,
                total_steps,
                done_steps: 0,
                found_steps: 0,
            }),
        }
    }

    /// Prints a line above the bars.
    pub(crate) fn line(&self, text: &str) {
        if self.bars.is_hidden() {
            tell(text);
        } else {
            // A terminal that has gone away is no reason to stop the work.
            self.bars.println(text).ok();
        }
    }

    /// An observer for one cell.
    pub(crate) fn cell(&self, name: &str, total_steps: u64) -> CellDisplay<'_> {
        let bar = self.bars.insert_before(&self.total, ProgressBar::new(total_steps));
        bar.set_style(style("{prefix:>36} {bar:30.cyan} {percent:>3} %  {msg}"));
        bar.set_prefix(name.to_owned());
        CellDisplay { display: self, name: name.to_owned(), bar, seen: None, last_return: None }
    }

    /// Counts a cell that was whole before.
    pub(crate) fn found(&self, steps: u64) {
        let mut state = self.lock();
        state.cells_done += 1;
        state.done_steps += steps;
        state.found_steps += steps;
        self.total.set_position(state.done_steps);
    }

    /// Removes the bars.
    pub(crate) fn finish(&self) {
        self.total.finish_and_clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, steps: u64, were_there: bool) {
        let mut state = self.lock();
        state.done_steps += steps;
        if were_there {
            state.found_steps += steps;
        }
        let summary = state.summary();
        self.total.set_position(state.done_steps);
        self.total.set_message(summary.clone());
        if self.bars.is_hidden() && state.last_line.elapsed() >= LINE_INTERVAL {
            state.last_line = Instant::now();
            tell(&summary);
        }
    }
}

impl State {
    fn summary(&self) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        let speed = (self.done_steps - self.found_steps) as f64 / seconds.max(1e-3);
        let left = (self.total_steps.saturating_sub(self.done_steps)) as f64 / speed.max(1e-9);
        let left = if speed > 0.0 { format!("{} left", duration(left)) } else { String::new() };
        format!(
            "{}/{} cells, {}/{} steps, {speed:.0} steps/s, {left}",
            self.cells_done, self.n_cells, self.done_steps, self.total_steps
        )
    }
}

/// Shows one cell and counts its steps.
pub(crate) struct CellDisplay<'a> {
    display: &'a Display,
    name: String,
    bar: ProgressBar,
    seen: Option<u64>,
    last_return: Option<f64>,
}

impl CellDisplay<'_> {
    /// The cell has done this many of its steps.
    pub(crate) fn at(&mut self, steps: u64) {
        let before = self.seen.replace(steps).unwrap_or(0);
        self.bar.set_position(steps);
        self.display.advance(steps.saturating_sub(before), false);
    }

    /// The cell is whole: says so in a line.
    pub(crate) fn done(self) {
        let mut state = self.display.lock();
        state.cells_done += 1;
        // An early stop leaves steps that nobody will take.
        let missing = self.bar.length().unwrap_or(0).saturating_sub(self.seen.unwrap_or(0));
        state.total_steps -= missing.min(state.total_steps);
        let (done, n_cells) = (state.cells_done, state.n_cells);
        drop(state);
        self.bar.finish_and_clear();
        let last = self.last_return.map_or_else(String::new, |r| format!(", last return {r:.1}"));
        self.display.line(&format!("{done:>3}/{n_cells} {} done{last}", self.name));
    }
}

impl Observer for CellDisplay<'_> {
    fn progress(&mut self, progress: &Progress, timing: &Timing) {
        // Steps before the first call come from a checkpoint, but for the first slice.
        let (before, were_there) = match self.seen {
            Some(seen) => (seen, false),
            None => (0, progress.env_steps > 200),
        };
        self.seen = Some(progress.env_steps);
        self.bar.set_position(progress.env_steps);
        let speed = progress.env_steps as f64 / timing.train_seconds.max(1e-3);
        let last = self.last_return.map_or_else(String::new, |r| format!(", return {r:.1}"));
        self.bar.set_message(format!("{speed:.0} steps/s{last}"));
        self.display.advance(progress.env_steps - before, were_there);
    }

    fn evaluation(&mut self, row: &CurveRow, _timing: &Timing) {
        self.last_return = Some(row.return_mean);
    }

    fn note(&mut self, text: &str) {
        self.display.line(&format!("{}: {text}", self.name));
    }
}

/// Writes a line for the user to stderr; results alone go to stdout.
pub(crate) fn tell(text: &str) {
    // With nobody listening there is nothing to do about it.
    writeln!(io::stderr(), "{text}").ok();
}

/// Seconds as `1 h 02 min`, `3 min 20 s` or `12 s`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown".to_owned();
    }
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_read_naturally() {
        assert_eq!(duration(12.3), "12 s");
        assert_eq!(duration(200.0), "3 min 20 s");
        assert_eq!(duration(3720.0), "1 h 02 min");
        assert_eq!(duration(f64::INFINITY), "unknown");
    }
}
