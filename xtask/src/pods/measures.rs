//! Figures 8, 9 and 10: kinetic energy, distance from the target and control.

use anyhow::Result;

use super::arms::is_origin;
use super::fig4::{self, Contest, SETTINGS, panels, seeds, sizes, tasks, too_few};
use crate::figure::{Findings, MIN_SEEDS, Size, not_run};
use crate::report::lines::picture;
use crate::report::{Entry, Illustration, Kind, Table, Verdict};
use crate::runs::found::{Column, Found};
use crate::runs::{Curve, Figure};

pub(super) const FIG8: Figure = Figure {
    id: "pods/fig8",
    title: "Kinetic energy at the end of roll-outs",
    claim: "Where the payload is to stop, PODS leaves at least ten times less kinetic energy than SAC \
            and PPO; at the origin SAC is comparable (Zamora Mora et al. 2021, figure 8)",
    note: SETTINGS,
    rule: "With geometric means over seeds of the kinetic energy at the end of an episode, at the end \
           of training, PODS with the best of its curves that have three seeds. Reproduced: at most a tenth of SAC's \
           and of PPO's on every stop task, and SAC's within a factor of ten on every origin task. \
           Partly: the former on at least half the stop tasks. Not reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells: fig4::cells,
    judge: |found| {
        let all = Contest::all(found);
        show(found, ENERGY, "kinetic energy [J]", all.map_or_else(too_few, |all| energy(&all)))
    },
};

pub(super) const FIG9: Figure = Figure {
    id: "pods/fig9",
    title: "Distance from the target on origin tasks",
    claim: "PODS ends nearest to the target (Zamora Mora et al. 2021, figure 9)",
    note: SETTINGS,
    rule: "With geometric means over seeds of the masses' mean distance from their targets at the end of \
           an episode, at the end of training, PODS with the best of its curves that have three seeds. Reproduced: \
           smaller than SAC's and PPO's on every origin task. Partly: on at least half of them. Not \
           reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells: |size: &Size| Ok(origins(fig4::cells(size)?)),
    judge: |found| {
        let all = Contest::all(found);
        show(found, DISTANCE, "distance [m]", all.map_or_else(too_few, |all| distance(&all)))
    },
};

pub(super) const FIG10: Figure = Figure {
    id: "pods/fig10",
    title: "Size of the controls",
    claim: "PODS controls no more than SAC does (Zamora Mora et al. 2021, figure 10)",
    note: SETTINGS,
    rule: "With geometric means over seeds of the handle's speed averaged over an episode, at the end of \
           training, PODS with the least of its curves that have three seeds. Reproduced: at most 1.05 times SAC's on \
           every task. Partly: on at least half of them. Not reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells: fig4::cells,
    judge: |found| {
        let all = Contest::all(found);
        show(found, CONTROL, "speed [m/s]", all.map_or_else(too_few, |all| control(&all)))
    },
};

const ENERGY: Column = Column::Named("final_kinetic_energy");
const DISTANCE: Column = Column::Named("final_distance");
const CONTROL: Column = Column::Named("mean_control");

fn origins(curves: Vec<Curve>) -> Vec<Curve> {
    curves.into_iter().filter(|curve| is_origin(curve.task)).collect()
}

fn show(found: &Found, column: Column, label: &'static str, verdict: Verdict) -> Result<Findings> {
    let panels = panels(found, (Column::Seconds, column), ["training time [s]", label]);
    let caption = "Mean over the test starts against seconds of training, from 0.1 s on: geometric mean over \
                   seeds with 95 % band, on logarithmic axes.";
    let mut table = Table::new(&["task", "curve", "seeds", "at the end of training"], 2);
    for group in found.groups.iter().filter(|group| group.has(1)) {
        table.push(vec![
            Entry::text(&group.task),
            Entry::text(&group.label),
            seeds(group),
            crate::curves::entry(&group.ends(column)),
        ]);
    }
    let alt = format!("{label} against training time on {} tasks", tasks(found).len());
    Ok(Findings {
        verdict,
        pictures: vec![Illustration {
            name: "curves",
            caption: caption.to_owned(),
            picture: picture(&alt, &panels),
        }],
        rollouts: Vec::new(),
        tables: vec![("Means over the test starts".to_owned(), table)],
    })
}

/// Reproduced on all, partly on at least half.
fn grade(n_good: usize, n: usize) -> Kind {
    match () {
        () if n_good == n => Kind::Reproduced,
        () if 2 * n_good >= n => Kind::Partly,
        () => Kind::NotReproduced,
    }
}

fn energy(all: &[Contest<'_>]) -> Verdict {
    let (origin, stop): (Vec<_>, Vec<_>) = all.iter().partition(|c| is_origin(c.task));
    let less = |c: &&&Contest<'_>| {
        let [pods, sac, ppo] = c.ends(ENERGY);
        10.0 * pods <= sac && 10.0 * pods <= ppo
    };
    let alike = |c: &&&Contest<'_>| {
        let [pods, sac, _] = c.ends(ENERGY);
        (0.1..=10.0).contains(&(sac / pods))
    };
    if stop.is_empty() || origin.is_empty() {
        return not_run(String::new(), "The rule needs stop tasks and origin tasks".to_owned());
    }
    let (n_less, n_alike) = (stop.iter().filter(less).count(), origin.iter().filter(alike).count());
    let kind = match grade(n_less, stop.len()) {
        Kind::Reproduced if n_alike < origin.len() => Kind::Partly,
        kind => kind,
    };
    let ratios = stop.iter().map(|c| {
        let [pods, sac, ppo] = c.ends(ENERGY);
        format!("{:.1} and {:.1} times on {}", sac / pods, ppo / pods, c.task)
    });
    let ours =
        format!("SAC and PPO leave {} what PODS does", ratios.collect::<Vec<_>>().join(", "));
    let reason = format!(
        "At most a tenth of the others on {n_less} of {} stop tasks; SAC is comparable on {n_alike} of \
         {} origin tasks",
        stop.len(),
        origin.len()
    );
    Verdict { kind, ours, reason }
}

fn distance(all: &[Contest<'_>]) -> Verdict {
    let ends: Vec<_> = all.iter().map(|c| (c.task, c.ends(DISTANCE))).collect();
    let nearest = ends.iter().filter(|(_, [pods, sac, ppo])| pods < sac && pods < ppo).count();
    let ours = ends.iter().map(|(task, [pods, sac, ppo])| {
        format!("{task}: PODS {:.1}, SAC {:.1}, PPO {:.1} cm", 1e2 * pods, 1e2 * sac, 1e2 * ppo)
    });
    let ours = ours.collect::<Vec<_>>().join("; ");
    let reason = format!("PODS is nearest on {nearest} of {} tasks", all.len());
    Verdict { kind: grade(nearest, all.len()), ours, reason }
}

fn control(all: &[Contest<'_>]) -> Verdict {
    let ratios: Vec<f64> = all
        .iter()
        .map(|c| {
            let [pods, sac, _] = c.ends(CONTROL);
            pods / sac
        })
        .collect();
    let n = ratios.iter().filter(|ratio| **ratio <= 1.05).count();
    let [least, most] = [f64::min, f64::max].map(|pick| ratios.iter().copied().reduce(pick));
    let ours = format!(
        "PODS controls {:.2} to {:.2} times as much as SAC",
        least.unwrap_or(f64::NAN),
        most.unwrap_or(f64::NAN)
    );
    let reason = format!("No more than SAC on {n} of {} tasks", all.len());
    Verdict { kind: grade(n, all.len()), ours, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::found::Group;
    use crate::runs::found::fixture::group;

    /// A group whose runs have these measures at the end.
    fn with(key: &str, task: &str, value: f64) -> Group {
        let mut group = group(key, task, &[9.0; 3]);
        for run in &mut group.runs {
            for name in ["final_kinetic_energy", "final_distance", "mean_control"] {
                run.metrics.insert(name.to_owned(), vec![value; 3]);
            }
        }
        group
    }

    fn contest<'g>(task: &'g str, [pods, sac, ppo]: &'g [Group; 3]) -> Contest<'g> {
        Contest { task, pods: vec![pods], sac, ppo }
    }

    #[test]
    fn factors_between_the_methods_decide() {
        let judge = |judge: fn(&[Contest<'_>]) -> Verdict, stop: [f64; 3], origin: [f64; 3]| {
            let of = |task: &str, v: [f64; 3]| [0, 1, 2].map(|i| with("k", task, v[i]));
            let (stop, origin) = (of("a-stop", stop), of("a-origin", origin));
            let all = [contest("a-stop", &stop), contest("a-origin", &origin)];
            judge(&all).kind
        };
        let near = [1.0, 2.0, 3.0];
        assert_eq!(judge(energy, [0.09, 1.0, 2.0], near), Kind::Reproduced);
        assert_eq!(judge(energy, [0.09, 1.0, 2.0], [1.0, 20.0, 3.0]), Kind::Partly);
        assert_eq!(judge(energy, [0.2, 1.0, 2.0], near), Kind::NotReproduced);
        assert_eq!(judge(energy, [0.09, f64::NAN, 2.0], near), Kind::NotReproduced);
        assert_eq!(judge(distance, near, near), Kind::Reproduced);
        assert_eq!(judge(distance, near, [2.0, 1.0, 3.0]), Kind::Partly);
        assert_eq!(judge(control, near, near), Kind::Reproduced);
        assert_eq!(judge(control, [9.0, 1.0, 1.0], [9.0, 1.0, 1.0]), Kind::NotReproduced);
        let alone = [0, 1, 2].map(|_| with("k", "a-stop", 1.0));
        assert_eq!(energy(&[contest("a-stop", &alone)]).kind, Kind::NotRun);
    }
}
