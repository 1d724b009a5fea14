//! Figure 7: the pattern of the sensitivities.

use anyhow::{Context as _, Result, ensure};
use bench_tasks::{Preset, Variant};
use ddp::Problem;
use ddp::shooting::Shooting;
use dynamics::Stream;
use nalgebra::{DMatrix, DVector};
use toml::Value;

use crate::figure::{Findings, MIN_SEEDS, Size};
use crate::plan::Profile;
use crate::report::{Colours, Illustration, Kind, Map, Verdict, draw_maps};
use crate::runs::found::Found;
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "pods/fig7",
    title: "The pattern of ds/da",
    claim: "States depend on earlier actions alone: ds/da is block lower triangular (Zamora Mora et \
            al. 2021, figure 7 and appendix A.4)",
    note: "The figure's text was not at hand; what it shows is inferred. The 2D pendulum of figure 3, 20 \
           steps, random actions; computed anew for each report.",
    rule: "Halving an action leaves all states up to its time the same to the bit, and the block of ds/da \
           of the next state by it has an entry that is not zero. Reproduced: so for every action. Not \
           reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: true,
    cells,
    judge,
};

const STEPS: usize = 20;

fn sizes(_: Profile) -> &'static str {
    ""
}

fn cells(_: &Size) -> Result<Vec<Curve>> {
    Ok(Vec::new())
}

fn judge(_: &Found) -> Result<Findings> {
    let Pattern { s, n, m, leaks } = Pattern::of_the_pendulum()?;
    // Row block t is the state at t + 1.
    let is_empty = |t: &usize| s.view((t * n, t * m), (n, m)).iter().all(|entry| *entry == 0.0);
    let empty = (0..STEPS).filter(is_empty).count();
    let largest = s.amax();
    let map = Map {
        title: "log |ds/da|".to_owned(),
        xs: (0..s.ncols()).map(|i| i as f64 / m as f64).collect(),
        ys: (0..s.nrows()).map(|i| 1.0 + i as f64 / n as f64).collect(),
        values: s
            .row_iter()
            .flat_map(|row| row.iter().map(|v| v.abs()).collect::<Vec<_>>())
            .map(|v| if v == 0.0 { f64::NAN } else { v })
            .collect(),
    };
    let colours = Colours::Decades { low: 1e-4 * largest, high: largest };
    let axes = ["time of the action", "time of the state"];
    let picture = draw_maps("Size of the entries of ds/da", axes, &[(colours, vec![map])]);
    let caption = "Entries of ds/da by size, white where exactly zero; a block is a state (x, x₋₁, v, v₋₁, \
                   p, ten entries) by an action (two). Later states are above.";
    let kind = if leaks == 0 && empty == 0 { Kind::Reproduced } else { Kind::NotReproduced };
    let ours = format!(
        "of {STEPS} actions {leaks} change a state before them, {empty} leave the next one as it was"
    );
    let reason = format!("{} of {STEPS} actions break the pattern", leaks.max(empty));
    Ok(Findings {
        verdict: Verdict { kind, ours, reason },
        pictures: vec![Illustration { name: "pattern", caption: caption.to_owned(), picture }],
        rollouts: Vec::new(),
        tables: Vec::new(),
    })
}

/// What actions do to states.
struct Pattern {
    /// ds/da of a roll-out.
    s: DMatrix<f64>,
    /// Sizes of state and action.
    n: usize,
    m: usize,
    /// Actions whose change moves a state that is not after them.
    leaks: usize,
}

impl Pattern {
    fn of_the_pendulum() -> Result<Self> {
        let entry = bench_tasks::find("pods-2d-stop")?;
        let mut settings = (entry.settings)(Preset::Released)?;
        settings.insert("horizon".to_owned(), Value::Integer(STEPS as i64));
        settings.insert("dt".to_owned(), Value::Float(1.0 / 30.0));
        let task = (entry.build)(Variant::Nominal, &settings)?;
        let task = task.as_task();
        let objective = task.objective().context("the task has no costs")?;
        let model = task.nominal();
        let problem = Problem::new(&model, &objective.stage, &objective.terminal, STEPS);
        let mut shooting = Shooting::new(problem)?;
        let mut stream = Stream::new(0, "figure 7", 0);
        let mut us = vec![DVector::zeros(model.any_nu()); STEPS];
        us.iter_mut().for_each(|u| task.action_bounds().sample(&mut stream, u.as_mut_slice()));
        shooting.rollout(objective.x0, &us)?;
        let (n, m) = (model.any_ndx(), model.any_nu());
        let s = shooting.direct()?;
        ensure!(s.shape() == (STEPS * n, STEPS * m), "ds/da has another shape");
        let xs = shooting.xs().to_vec();
        let mut leaks = 0;
        for t in 0..STEPS {
            us[t] *= 0.5;
            shooting.rollout(objective.x0, &us)?;
            leaks += usize::from(shooting.xs()[..=t] != xs[..=t]);
            us[t] *= 2.0;
        }
        Ok(Self { s, n, m, leaks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_judged_without_cells() {
        let findings = judge(&Found::read(&[])).unwrap();
        assert_eq!(findings.verdict.kind, Kind::Reproduced, "{}", findings.verdict.ours);
    }
}
