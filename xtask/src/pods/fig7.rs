//! Figure 7: the pattern of the sensitivities.

use anyhow::{Context as _, Result, ensure};
use bench_tasks::{Preset, Variant};
use ddp::Problem;
use ddp::shooting::Shooting;
use dynamics::Stream;
use nalgebra::{DMatrix, DVector};
use toml::Value;

use super::found::Found;
use super::{Curve, Figure};
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::{Colours, Illustration, Kind, Map, Verdict, draw_maps};

pub(super) const FIGURE: Figure = Figure {
    id: "pods/fig7",
    title: "The pattern of ds/da",
    claim: "States depend on earlier actions alone: ds/da is block lower triangular (Zamora Mora et \
            al. 2021, figure 7 and appendix A.4)",
    note: "The figure's text was not at hand; what it shows is inferred. The 2D pendulum of figure 3, 20 \
           steps, random actions; computed anew for each report.",
    rule: "Reproduced: every block of the state s at time t by an action at τ ≥ t is exactly zero, and every block \
           of s at t + 1 by the action at t has an entry that is not. Not reproduced: otherwise.",
    sizes,
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
    let (s, n, m) = sensitivities()?;
    let block = |t: usize, tau: usize| s.view((t * n, tau * m), (n, m));
    let (mut above, mut empty) = (0, 0);
    for t in 0..STEPS {
        for tau in 0..STEPS {
            // Row block t is the state at t + 1.
            let is_zero = block(t, tau).iter().all(|entry| *entry == 0.0);
            above += usize::from(tau > t && !is_zero);
            empty += usize::from(tau == t && is_zero);
        }
    }
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
    let kind = if above == 0 && empty == 0 { Kind::Reproduced } else { Kind::NotReproduced };
    let ours = format!("{above} blocks above the diagonal are not zero, {empty} on it are");
    let reason = format!("Of {} blocks, {above} break the pattern", STEPS * STEPS);
    Ok(Findings {
        verdict: Verdict { kind, ours, reason },
        pictures: vec![Illustration { name: "pattern", caption: caption.to_owned(), picture }],
        rollouts: Vec::new(),
        tables: Vec::new(),
    })
}

/// ds/da of a roll-out with the sizes of state and action.
fn sensitivities() -> Result<(DMatrix<f64>, usize, usize)> {
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
    let us: Vec<_> = (0..STEPS)
        .map(|_| {
            let mut u = DVector::zeros(model.any_nu());
            task.action_bounds().sample(&mut stream, u.as_mut_slice());
            u
        })
        .collect();
    shooting.rollout(objective.x0, &us)?;
    let s = shooting.direct()?;
    let (n, m) = (model.any_ndx(), model.any_nu());
    ensure!(s.shape() == (STEPS * n, STEPS * m), "ds/da has another shape");
    Ok((s, n, m))
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
