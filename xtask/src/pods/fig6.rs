//! The idea of figure 6: few roll-outs.

use anyhow::Result;

use super::arms::{FEW, SAC, baseline, pods};
use super::fig4::{SETTINGS, tasks, too_few};
use crate::curves::geometric_mean;
use crate::figure::{Findings, MIN_SEEDS, Size};
use crate::plan::Profile;
use crate::report::lines::{Marks, Panel, Scale, picture};
use crate::report::stats::interpolate;
use crate::report::{Entry, Illustration, Kind, Table, Verdict};
use crate::runs::found::{Column, Found, Group};
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "pods/fig6",
    title: "Small batches: return against the number of roll-outs",
    claim: "With small batches PODS is above SAC at equal numbers of roll-outs, in less time (Zamora \
            Mora et al. 2021, figure 6, there on the cloth)",
    note: SETTINGS,
    rule: "Geometric means over seeds of the cost over the test starts, on the roll-outs that both \
           methods have made, those of line searches included. PODS is ahead on a task if its cost \
           is below SAC's at ten equally spaced numbers of roll-outs in the second half of that \
           axis, and faster if it has taken less training time at its end. Reproduced: both on \
           every task. Partly: ahead on at least half the tasks, or faster on every task. Not \
           reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: k = 3, networks of 2×8, two tasks.",
        Profile::Quick => "Quick profile: k = 16, 12,000 steps of SAC, 100 test starts.",
        Profile::Paper => "Paper profile: k = 32, 100,000 steps of SAC, 1,000 test starts.",
    }
}

fn cells(size: &Size) -> Result<Vec<Curve>> {
    let mut curves = Vec::new();
    for task in size.tasks() {
        curves.extend([pods(size, FEW, task)?, baseline(size, SAC, task)?]);
    }
    Ok(curves)
}

/// What a task shows.
struct Duel {
    /// Costs of PODS and SAC at numbers of roll-outs in the second half.
    costs: Vec<(f64, [f64; 2])>,
    /// Seconds at the end of the axis.
    seconds: [f64; 2],
}

impl Duel {
    fn of(pods: &Group, sac: &Group) -> Option<Self> {
        let means = |group: &Group, y| -> (Vec<f64>, Vec<f64>) {
            let points = group.points(Column::Rollouts, y);
            points.into_iter().map(|(x, seeds)| (x, geometric_mean(&seeds))).unzip()
        };
        let costs = [pods, sac].map(|group| means(group, Column::Cost));
        let seconds = [pods, sac].map(|group| means(group, Column::Seconds));
        let end = costs.iter().filter_map(|(x, _)| x.last().copied()).fold(f64::INFINITY, f64::min);
        let at = |[a, b]: &[(Vec<f64>, Vec<f64>); 2], x: f64| {
            Some([interpolate(&a.0, &a.1, x)?, interpolate(&b.0, &b.1, x)?])
        };
        let grid = (1..=10).map(|i| end * (0.5 + 0.05 * f64::from(i)));
        let costs = grid.map(|x| Some((x, at(&costs, x)?))).collect::<Option<_>>()?;
        Some(Self { costs, seconds: at(&seconds, end)? })
    }

    fn is_ahead(&self) -> bool {
        self.costs.iter().all(|(_, [pods, sac])| pods < sac)
    }

    fn is_faster(&self) -> bool {
        self.seconds[0] < self.seconds[1]
    }
}

fn judge(found: &Found) -> Result<Findings> {
    let panel = |task: &str| Panel {
        title: task.to_owned(),
        x: Scale { label: "roll-outs", marks: Marks::Decades },
        y: Scale { label: "mean cost over test starts", marks: Marks::Decades },
        lines: [FEW, SAC]
            .iter()
            .filter_map(|key| found.group(task, key))
            .flat_map(|group| group.lines(Column::Rollouts, Column::Cost))
            .collect(),
    };
    let panels: Vec<_> = tasks(found).into_iter().map(panel).collect();
    let picture = picture("Cost against roll-outs", &panels);
    let caption = "Cost against simulated roll-outs, those of line searches included: geometric mean \
                   over seeds with 95 % band, on logarithmic axes.";
    let duels: Vec<_> = tasks(found)
        .into_iter()
        .filter_map(|task| {
            let group = |key| found.group(task, key).filter(|group| group.has(MIN_SEEDS));
            Some((task, Duel::of(group(FEW)?, group(SAC)?)?))
        })
        .collect();
    let head = ["task", "roll-outs", "cost of PODS", "cost of SAC", "seconds of PODS", "of SAC"];
    let mut table = Table::new(&head, 1);
    for (task, duel) in &duels {
        let Some((rollouts, [pods, sac])) = duel.costs.last() else { continue };
        let numbers = [*rollouts, *pods, *sac, duel.seconds[0], duel.seconds[1]];
        let numbers = numbers.map(|value| Entry::text(format!("{value:.1}")));
        table.push([Entry::text(*task)].into_iter().chain(numbers).collect());
    }
    let verdict = match duels.len() == tasks(found).len() && !duels.is_empty() {
        true => decide(&duels.iter().map(|(_, duel)| duel).collect::<Vec<_>>()),
        false => too_few(),
    };
    Ok(Findings {
        verdict,
        pictures: vec![Illustration { name: "curves", caption: caption.to_owned(), picture }],
        rollouts: Vec::new(),
        tables: vec![("At the largest number of roll-outs that both have made".to_owned(), table)],
    })
}

fn decide(duels: &[&Duel]) -> Verdict {
    let n = duels.len();
    let ahead = duels.iter().filter(|duel| duel.is_ahead()).count();
    let faster = duels.iter().filter(|duel| duel.is_faster()).count();
    let kind = match () {
        () if ahead == n && faster == n => Kind::Reproduced,
        () if 2 * ahead >= n || faster == n => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let ours = format!("PODS is ahead of SAC on {ahead} and faster on {faster} of {n} tasks");
    let reason = format!("Ahead on {ahead}, faster on {faster} of {n} tasks");
    Verdict { kind, ours, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn being_ahead_and_faster_decides() {
        let duel = |pods: f64, seconds: f64| Duel {
            costs: vec![(500.0, [pods, 10.0]), (1000.0, [pods, 9.0])],
            seconds: [seconds, 10.0],
        };
        let kind = |duels: &[Duel]| decide(&duels.iter().collect::<Vec<_>>()).kind;
        assert_eq!(kind(&[duel(5.0, 1.0), duel(8.0, 2.0)]), Kind::Reproduced);
        assert_eq!(kind(&[duel(5.0, 1.0), duel(9.5, 2.0)]), Kind::Partly);
        assert_eq!(kind(&[duel(20.0, 1.0), duel(9.5, 2.0)]), Kind::Partly);
        assert_eq!(kind(&[duel(20.0, 1.0), duel(9.5, 20.0)]), Kind::NotReproduced);
    }
}
