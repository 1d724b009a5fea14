//! Figure 3: steps of first and second order and back-propagation through time.

use anyhow::Result;

use super::arms::{bptt, ordered};
use crate::curves::geometric_mean;
use crate::figure::{Findings, MIN_SEEDS, Size, not_run};
use crate::plan::Profile;
use crate::report::lines::{Line, Marks, Panel, Scale, picture};
use crate::report::{Entry, Estimate, Illustration, Kind, Table, Verdict};
use crate::runs::found::{Column, Found, Group};
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "pods/fig3",
    title: "PODS of first and second order beside BPTT on the 2D pendulum",
    claim: "With roll-outs of 50 steps, second order converges in far fewer epochs than first order \
            and BPTT and ends best; BPTT, from its best first weights, is ahead of first order \
            (Zamora Mora et al. 2021, figure 3)",
    note: "Step lengths, step sizes and batches are not published. The headline has α = 0.3 and a \
           regression with Adam 0.003 for second order, α = 0.05 and Adam 0.001 for first, and Adam \
           0.003 for BPTT; the table has others that were tried, since the order of first order and \
           BPTT depends on them. k = 64 roll-outs an epoch for all. All start from the same weights and \
           normalise observations by statistics of improved roll-outs. BPTT is shown by its mean over \
           seeds, not by its best one. An epoch of BPTT is one step of Adam, one of PODS fifty and a \
           line search: times and roll-outs stand beside epochs.",
    rule: "With geometric means over seeds of the cost over the test starts, for the three curves of \
           the headline. The level is 1.1 times the least cost at the end (mean of the last three \
           evaluations) among them; a run is there when the mean of three evaluations is, and epochs to \
           it are means over seeds, a run that never gets there counting with its length. Reproduced: \
           every run of second order gets there, in at most a third of the epochs of either other curve, \
           second order ends at most 2 % above BPTT, and both curves of PODS end below a third of their first \
           cost. Partly: the first of these alone. Not reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: true,
    cells,
    judge,
};

const MAIN: [&str; 3] = ["order-2-0.3", "order-1-0.05", "bptt-0.003"];
const FACTOR: f64 = 3.0;
const LEVEL: f64 = 1.1;
const LEVEL_WITH: f64 = 1.02;

fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: four roll-outs an epoch, networks of 2×8, two epochs.",
        Profile::Quick => {
            "Quick profile: 60 epochs of PODS and 200 of BPTT, 100 test starts, headline curves alone."
        }
        Profile::Paper => "Paper profile: 60 epochs of PODS and 300 of BPTT, 1,000 test starts.",
    }
}

fn cells(size: &Size) -> Result<Vec<Curve>> {
    let mut curves =
        vec![ordered(size, 2, 0.3)?, ordered(size, 1, 0.05)?, bptt(size, 0.003, None)?];
    if size.profile == Profile::Paper {
        curves.extend([ordered(size, 2, 1.0)?, ordered(size, 1, 0.02)?]);
        curves.extend([ordered(size, 1, 0.1)?, ordered(size, 1, 0.2)?]);
        for (learning_rate, norm) in [(3e-4, None), (1e-3, None), (1e-2, None), (3e-3, Some(10.0))]
        {
            curves.push(bptt(size, learning_rate, norm)?);
        }
    }
    Ok(curves)
}

fn judge(found: &Found) -> Result<Findings> {
    let shown = |x: Column, keys: &dyn Fn(&Group) -> bool| -> Vec<Line> {
        let groups = found.groups.iter().filter(|group| keys(group));
        groups.flat_map(|group| group.lines(x, Column::Cost)).collect()
    };
    let is_main = |group: &Group| MAIN.contains(&&*group.key);
    let panel = |title: &str, label, lines| Panel {
        title: title.to_owned(),
        x: Scale { label, marks: Marks::Decades },
        y: Scale { label: "mean cost over test starts", marks: Marks::Decades },
        lines,
    };
    let mut panels = vec![
        panel("Epochs", "epoch", shown(Column::Episodes, &is_main)),
        panel("Time", "training time [s]", shown(Column::Seconds, &is_main)),
    ];
    for (title, method) in [("PODS, other first α", "order"), ("BPTT, other steps", "bptt")] {
        let lines = shown(Column::Episodes, &|group| group.key.starts_with(method));
        if found.groups.iter().any(|group| group.key.starts_with(method) && !is_main(group)) {
            panels.push(panel(title, "epoch", lines));
        }
    }
    let picture = picture("Cost against epochs and against training time", &panels);
    let caption = "Cost, minus the return, over the test starts: geometric mean over seeds with 95 % \
                   band, on logarithmic axes.";
    let level = level(found);
    let mut table = Table::new(
        &["curve", "cost at the end", "epochs to the level", "seconds to it", "roll-outs to it"],
        1,
    );
    for group in found.groups.iter().filter(|group| group.has(1)) {
        let to = |x| Reached::of(group, level, x).entry();
        table.push(vec![
            Entry::text(&group.label),
            Entry::estimate(&group.end(Column::Cost), Some(2)),
            to(Column::Episodes),
            to(Column::Seconds),
            to(Column::Rollouts),
        ]);
    }
    Ok(Findings {
        verdict: decide(found),
        pictures: vec![Illustration { name: "curves", caption: caption.to_owned(), picture }],
        rollouts: Vec::new(),
        tables: vec![(format!("To a cost of {level:.2}"), table)],
    })
}

/// What a level has cost, over seeds.
pub(super) struct Reached {
    estimate: Estimate,
    /// Runs that never got there.
    short: usize,
}

impl Reached {
    pub(super) fn of(group: &Group, level: f64, x: Column) -> Self {
        let reached = group.reached(level, x);
        let values: Vec<f64> = reached.iter().map(|reach| reach.at).collect();
        let short = reached.iter().filter(|reach| reach.censored).count();
        Self { estimate: Estimate::mean(&values), short }
    }

    /// The mean, infinite where a run fell short: for what is to be fast.
    pub(super) fn or_never(&self) -> f64 {
        if self.short > 0 { f64::INFINITY } else { self.value() }
    }

    pub(super) fn value(&self) -> f64 {
        self.estimate.value.unwrap_or(f64::NAN)
    }

    /// With `≥` where runs fell short.
    pub(super) fn entry(&self) -> Entry {
        let mut entry = Entry::estimate(&self.estimate, None);
        if self.short > 0 {
            entry.main = format!("≥ {}", entry.main);
        }
        entry
    }
}

fn level(found: &Found) -> f64 {
    let ends = found.groups.iter().filter(|group| MAIN.contains(&&*group.key) && group.has(1));
    ends.filter_map(|group| group.end(Column::Cost).value).fold(f64::INFINITY, f64::min) * LEVEL
}

fn decide(found: &Found) -> Verdict {
    let groups = MAIN.map(|key| found.groups.iter().find(|group| group.key == key));
    let [Some(second), Some(first), Some(bptt)] = groups else {
        return not_run(String::new(), "A curve is missing".to_owned());
    };
    if ![second, first, bptt].iter().all(|group| group.has(MIN_SEEDS)) {
        let reason = format!("The rule needs {MIN_SEEDS} seeds of every curve");
        return not_run(String::new(), reason);
    }
    let level = level(found);
    let reached = |group| Reached::of(group, level, Column::Episodes);
    let (fast, slow, slowest) =
        (reached(second).or_never(), reached(first).value(), reached(bptt).value());
    let ends = [second, first, bptt].map(|g| g.end(Column::Cost).value.unwrap_or(f64::NAN));
    let starts = [second, first].map(|group| {
        let points = group.points(Column::Episodes, Column::Cost);
        points.first().map_or(f64::NAN, |(_, seeds)| geometric_mean(seeds))
    });
    let faster = FACTOR * fast <= slow && FACTOR * fast <= slowest;
    let best = ends[0] <= LEVEL_WITH * ends[2];
    // The first evaluation comes after the first epoch, so the start is above it.
    let falling = ends[0] < starts[0] / 3.0 && ends[1] < starts[1] / 3.0;
    let kind = match (faster, best && falling) {
        (true, true) => Kind::Reproduced,
        (true, false) => Kind::Partly,
        _ => Kind::NotReproduced,
    };
    let mut ours = format!(
        "{fast:.1} epochs of second order, {slow:.1} of first, {slowest:.1} of BPTT to a cost of \
         {level:.2}; costs at the end {:.2}, {:.2} and {:.2}",
        ends[0], ends[1], ends[2]
    );
    let tuned = ["order-2", "order-1", "bptt"].map(|method| tuned(found, method));
    if let [Some(second), Some(first), Some(bptt)] = tuned {
        ours += &format!("; with the best of the steps tried: {second}, {first}, {bptt}");
    }
    let reason = format!(
        "Second order needs {:.0} % of the epochs of the faster other curve and ends {:+.1} % from \
         BPTT",
        100.0 * fast / slow.min(slowest),
        100.0 * (ends[0] / ends[2] - 1.0)
    );
    Verdict { kind, ours, reason }
}

/// The curve of a method that costs least at the end, in words, where there are several.
fn tuned(found: &Found, method: &str) -> Option<String> {
    let all: Vec<_> = found
        .groups
        .iter()
        .filter(|group| group.key.starts_with(method) && group.has(MIN_SEEDS))
        .filter_map(|group| Some((&group.label, group.end(Column::Cost).value?)))
        .collect();
    let best = all.iter().min_by(|a, b| a.1.total_cmp(&b.1)).filter(|_| all.len() > 1);
    best.map(|(label, cost)| format!("{cost:.2} ({label})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::found::fixture::{found, group};

    #[test]
    fn epochs_to_the_level_and_ends_decide() {
        let task = "pods-2d-stop";
        let curve = |fast: usize| -> Vec<f64> {
            (0..40).map(|i| if i < fast { 60.0 } else { 10.0 }).collect()
        };
        let kind = |second: &[f64]| {
            let groups = vec![
                group(MAIN[0], task, second),
                group(MAIN[1], task, &curve(25)),
                group(MAIN[2], task, &curve(30)),
            ];
            decide(&found(groups)).kind
        };
        assert_eq!(kind(&curve(3)), Kind::Reproduced);
        assert_eq!(kind(&curve(20)), Kind::NotReproduced);
        let ends_higher: Vec<f64> = curve(3).iter().map(|cost| 1.05 * cost).collect();
        assert_eq!(kind(&ends_higher), Kind::Partly);
        assert_eq!(kind(&[60.0; 40]), Kind::NotReproduced, "it never gets there");
        assert_eq!(decide(&found(vec![])).kind, Kind::NotRun);
        let groups = vec![group("bptt-1", task, &[9.0; 4]), group("bptt-2", task, &[8.0; 4])];
        assert_eq!(tuned(&found(groups), "bptt").unwrap(), "8.00 (bptt-2)");
        assert!(tuned(&found(vec![group("bptt-1", task, &[9.0; 4])]), "bptt").is_none());
    }
}
