//! Table 1: returns and times.

use anyhow::Result;

use super::arms::{LARGE, PPO, PPO_FIELD, SAC, SAC_FIELD, SMALL, baseline};
use super::fig3::Reached;
use super::fig4::{self, Contest, SETTINGS, seeds, too_few};
use crate::figure::{Findings, MIN_SEEDS, Size};
use crate::plan::Profile;
use crate::report::cells::Cell;
use crate::report::{Entry, Kind, Table, Verdict};
use crate::runs::found::{Column, Found, summed};
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "pods/table1",
    title: "Returns and training times on the pendulums",
    claim: "PODS earns the best return on every task, SAC is next, PPO last, and PODS is 10 to 30 \
            times faster than SAC (6 to 44 times by the table itself; Zamora Mora et al. 2021, table \
            1)",
    note: SETTINGS,
    rule: "With geometric means over seeds of the cost over the test starts at the end of training, PODS \
           with the best of its curves that have three seeds, and with means over seeds of the training \
           time until the mean of three evaluations is at 1.1 times SAC's cost at the end (a run of SAC that \
           never gets there counts with its length, a curve of PODS with such a run as never). \
           Reproduced: on every task \
           PODS costs at most 2 % more than SAC and than PPO, PPO costs most, and PODS is at least \
           6 times faster than SAC. Partly: PODS is best so on at least half the tasks, or 6 times \
           faster on every task. Not reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

/// What the paper prints: PODS 500, PODS 4000, SAC and PPO, and their hours.
const PAPER: [(&str, [f64; 4], [f64; 4]); 6] = [
    ("pods-2d-stop", [17.0, 18.0, 20.0, 48.0], [0.11, 0.15, 4.8, 1.1]),
    ("pods-3d-stop", [39.0, 44.0, 45.0, 199.0], [0.22, 0.23, 4.9, 1.1]),
    ("pods-double-stop", [180.0, 185.0, 213.0, 470.0], [0.74, 0.57, 10.9, 2.9]),
    ("pods-2d-origin", [183.0, 184.0, 191.0, 395.0], [0.11, 0.75, 4.8, 1.2]),
    ("pods-3d-origin", [291.0, 331.0, 315.0, 997.0], [0.20, 0.24, 4.9, 1.2]),
    ("pods-double-origin", [732.0, 737.0, 836.0, 2310.0], [1.01, 0.99, 9.7, 2.9]),
];
/// Tasks on which the baselines also run with the field's settings.
const FIELD: [&str; 2] = ["pods-2d-stop", "pods-3d-origin"];
const FASTER: f64 = 6.0;
const LEVEL: f64 = 1.1;

fn sizes(profile: Profile) -> &'static str {
    fig4::sizes(profile)
}

fn cells(size: &Size) -> Result<Vec<Curve>> {
    let mut curves = fig4::cells(size)?;
    if size.profile == Profile::Paper {
        for task in FIELD {
            curves.extend([baseline(size, SAC_FIELD, task)?, baseline(size, PPO_FIELD, task)?]);
        }
    }
    Ok(curves)
}

fn judge(found: &Found) -> Result<Findings> {
    let mut costs = Table::new(
        &[
            "task",
            "curve",
            "seeds",
            "cost",
            "paper",
            "training",
            "paper",
            "roll-outs",
            "differentiated",
            "updates",
        ],
        2,
    );
    let mut field = Table::new(&["task", "curve", "seeds", "cost", "training", "roll-outs"], 2);
    for group in found.groups.iter().filter(|group| group.has(1)) {
        let last = |x: Column| {
            let all = group.runs.iter().filter_map(|run| x.of(run).last().copied());
            all.sum::<f64>() / group.runs.len() as f64
        };
        let count = |number: &dyn Fn(&Cell) -> f64| {
            let sum: f64 = group.runs.iter().map(number).sum();
            Entry::text(format!("{:.0}", sum / group.runs.len() as f64))
        };
        let rollouts = Entry::text(format!("{:.0}", last(Column::Rollouts)));
        let cost = Entry::estimate(&group.end(Column::Cost), None);
        let (task, label) = (Entry::text(&group.task), Entry::text(&group.label));
        let seconds = Entry::text(format!("{:.0} s", last(Column::Seconds)));
        let Some(place) = [SMALL, LARGE, SAC, PPO].iter().position(|key| *key == group.key) else {
            field.push(vec![task, label, seeds(group), cost, seconds, rollouts]);
            continue;
        };
        let paper = PAPER.iter().find(|(task, ..)| *task == group.task);
        let [paper_cost, paper_hours] = match paper {
            Some((_, costs, hours)) => [costs[place].to_string(), format!("{} h", hours[place])],
            None => ["–".to_owned(), "–".to_owned()],
        };
        costs.push(vec![
            task,
            label,
            seeds(group),
            cost,
            Entry::text(paper_cost),
            seconds,
            Entry::text(paper_hours),
            rollouts,
            count(&gradients),
            count(&updates),
        ]);
    }
    let all = Contest::all(found);
    let mut tables = vec![("Costs (minus returns) and training times".to_owned(), costs)];
    if let Some(all) = &all {
        let mut times = Table::new(
            &["task", "level", "PODS, small k", "PODS, large k", "SAC", "PPO", "SAC/PODS", "paper"],
            1,
        );
        for contest in all {
            let level = level(contest);
            let to = |group| Reached::of(group, level, Column::Seconds).entry();
            let pods = |key| found.group(contest.task, key).filter(|group| group.has(1));
            let pods = |key| pods(key).map_or_else(|| Entry::text("–"), to);
            let paper = PAPER.iter().find(|(task, ..)| *task == contest.task);
            let ratio = paper.map(|(_, _, h)| format!("{:.1}, {:.1}", h[2] / h[0], h[2] / h[1]));
            times.push(vec![
                Entry::text(contest.task),
                Entry::text(format!("{level:.1}")),
                pods(SMALL),
                pods(LARGE),
                to(contest.sac),
                to(contest.ppo),
                Entry::text(format!("{:.1}", faster(contest))),
                Entry::text(ratio.unwrap_or_default()),
            ]);
        }
        let heading = "Seconds of training to 1.1 times the cost that SAC ends with";
        tables.push((heading.to_owned(), times));
    }
    if !field.is_empty() {
        tables.push(("Baselines with the defaults of Stable-Baselines3, but for networks and first weights, which are those of the others".to_owned(), field));
    }
    let verdict = all.map_or_else(too_few, |all| decide(&all));
    Ok(Findings { verdict, pictures: Vec::new(), rollouts: Vec::new(), tables })
}

/// Roll-outs that were differentiated; none in a method that differentiates none.
fn gradients(run: &Cell) -> f64 {
    summed(run, "gradients").last().copied().unwrap_or(0.0)
}

/// Updates of networks.
fn updates(run: &Cell) -> f64 {
    run.curve.updates.last().copied().unwrap_or(f64::NAN)
}

fn level(contest: &Contest<'_>) -> f64 {
    LEVEL * contest.ends(Column::Cost)[1]
}

/// How many times longer SAC takes to the level than the fastest curve of PODS.
fn faster(contest: &Contest<'_>) -> f64 {
    let to = |group| Reached::of(group, level(contest), Column::Seconds);
    let pods = contest.pods.iter().map(|group| to(group).or_never()).fold(f64::NAN, f64::min);
    to(contest.sac).value() / pods
}

fn decide(all: &[Contest<'_>]) -> Verdict {
    let n = all.len();
    let ends = all.iter().map(|contest| contest.ends(Column::Cost));
    let best = all.iter().filter(|contest| contest.is_best()).count();
    let last = all.iter().filter(|contest| contest.is_ppo_last()).count();
    let ratios: Vec<f64> = all.iter().map(faster).collect();
    let fast = ratios.iter().filter(|ratio| **ratio >= FASTER).count();
    let kind = match () {
        () if best == n && last == n && fast == n => Kind::Reproduced,
        () if 2 * best >= n || fast == n => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let shares: Vec<f64> = ends.map(|[pods, sac, _]| pods / sac).collect();
    let range = |values: &[f64], digits: usize| {
        let [low, high] = [f64::min, f64::max].map(|pick| values.iter().copied().reduce(pick));
        let (low, high) = (low.unwrap_or(f64::NAN), high.unwrap_or(f64::NAN));
        format!("{low:.digits$} to {high:.digits$}")
    };
    let ours = format!(
        "PODS costs {} times what SAC does (paper 0.85 to 0.96) and gets to SAC's level {} times faster \
         (paper 6.4 to 43.6)",
        range(&shares, 2),
        range(&ratios, 1)
    );
    let reason = format!(
        "PODS is best on {best}, PPO last on {last}, and PODS {FASTER:.0} times faster than SAC on {fast} \
         of {n} tasks"
    );
    Verdict { kind, ours, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::found::fixture::group;

    #[test]
    fn costs_and_times_decide_and_what_never_arrives_is_not_fast() {
        let curve = |n: usize, fall: usize, end: f64| -> Vec<f64> {
            (0..n).map(|i| if i < fall { 90.0 } else { end }).collect()
        };
        let (pods, sac, ppo) = (
            group(SMALL, "t", &curve(20, 1, 8.0)),
            group(SAC, "t", &curve(200, 90, 10.0)),
            group(PPO, "t", &curve(20, 9, 30.0)),
        );
        let contest = |pods| Contest { task: "t", pods: vec![pods], sac: &sac, ppo: &ppo };
        let verdict = decide(&[contest(&pods)]);
        assert_eq!(verdict.kind, Kind::Reproduced, "{}", verdict.ours);
        let never = group(SMALL, "t", &curve(3, 1, 15.0));
        assert_eq!(faster(&contest(&never)), 0.0);
        assert_eq!(decide(&[contest(&never)]).kind, Kind::NotReproduced);
        let slow = group(SMALL, "t", &curve(100, 60, 8.0));
        assert_eq!(decide(&[contest(&slow)]).kind, Kind::Partly);
    }
}
