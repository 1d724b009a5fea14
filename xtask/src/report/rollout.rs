//! One trajectory of a trained policy: loading it, and its plots against time.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::axis::{Axis, extent, short};
use super::svg::{Picture, series_class};

/// Contents of `rollout.json`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rollout {
    /// Task name.
    pub(crate) task: String,
    /// Seconds per control step.
    pub(crate) dt: f64,
    /// Names of the state's components.
    #[serde(default)]
    pub(crate) state_names: Vec<String>,
    /// States, one more than actions or as many.
    pub(crate) xs: Vec<Vec<f64>>,
    /// Actions.
    pub(crate) us: Vec<Vec<f64>>,
    /// Rewards.
    pub(crate) rewards: Vec<f64>,
}

/// Reads a roll-out.
///
/// # Errors
/// A sentence that says what is wrong with the file.
pub(crate) fn load(path: &Path) -> Result<Rollout, String> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let text = std::fs::read_to_string(path).map_err(|e| format!("`{name}`: {e}"))?;
    // JSON has no NaN: a writer that met one leaves null, which is an error here.
    let rollout: Rollout = serde_json::from_str(&text).map_err(|e| format!("`{name}`: {e}"))?;
    let nx = rollout.xs.first().map_or(0, Vec::len);
    let nu = rollout.us.first().map_or(0, Vec::len);
    if rollout.xs.len() < 2 || nx == 0 {
        return Err(format!("`{name}` has fewer than two states"));
    }
    let even = rollout.xs.iter().all(|x| x.len() == nx) && rollout.us.iter().all(|u| u.len() == nu);
    if !even {
        return Err(format!("`{name}`: states or actions change their length on the way"));
    }
    if !(rollout.dt.is_finite() && rollout.dt > 0.0) {
        return Err(format!("`{name}`: the time step is {}, not positive", rollout.dt));
    }
    Ok(rollout)
}

impl Rollout {
    /// Undiscounted return.
    pub(crate) fn total(&self) -> f64 {
        self.rewards.iter().sum()
    }

    /// Time of the last state.
    pub(crate) fn duration(&self) -> f64 {
        (self.xs.len() - 1) as f64 * self.dt
    }

    /// Label of state `i` with its unit.
    fn state_label(&self, i: usize) -> String {
        let known = super::animation::drawing(&self.task).and_then(|d| d.state_labels.get(i));
        let named = self.state_names.get(i).cloned();
        known.map(|s| (*s).to_owned()).or(named).unwrap_or_else(|| format!("state {i}"))
    }

    /// Label of action `i` with its unit.
    fn action_label(&self, i: usize) -> String {
        let known = super::animation::drawing(&self.task).and_then(|d| d.action_labels.get(i));
        known.map_or_else(|| format!("action {i}"), |s| (*s).to_owned())
    }

    /// Plots of every state, action and the reward against time, with ids starting in `id`.
    pub(crate) fn plots(&self, id: &str) -> Vec<Picture> {
        let nu = self.us.first().map_or(0, Vec::len);
        let states = (0..self.xs[0].len()).map(|i| {
            let angle = super::animation::drawing(&self.task).and_then(|d| d.angle) == Some(i);
            (self.state_label(i), column(&self.xs, i), false, angle, 0)
        });
        let actions = (0..nu).map(|i| (self.action_label(i), column(&self.us, i), true, false, 1));
        let reward = ("reward per step".to_owned(), self.rewards.clone(), true, false, 2);
        let all = states.chain(actions).chain([reward]).enumerate();
        all.map(|(k, (label, values, held, angle, colour))| {
            self.plot(&format!("{id}-{k}"), &label, &values, held, angle, colour)
        })
        .collect()
    }

    /// One quantity against time. `held` values last one step; an `angle` jumps where it wraps.
    fn plot(
        &self,
        id: &str,
        label: &str,
        ys: &[f64],
        held: bool,
        angle: bool,
        colour: usize,
    ) -> Picture {
        let mut p = Picture::new(450.0, 190.0, &format!("{label} against time"));
        let x = Axis::linear("time [s]", (0.0, self.duration()), (62.0, 440.0), 6);
        let range = extent(ys.iter().copied()).unwrap_or((0.0, 1.0));
        let y = Axis::rounded(label, range, (146.0, 10.0), 4);
        p.frame(&x, &y);
        p.clipped(&format!("{id}-clip"), &x, &y);
        if angle
            && let Some(at) = y.at(std::f64::consts::PI).filter(|at| (10.0..=146.0).contains(at))
        {
            p.line("level", (62.0, at), (440.0, at));
        }
        let mut points = Vec::new();
        for (k, value) in ys.iter().enumerate() {
            let t = k as f64 * self.dt;
            if angle && k > 0 && (value - ys[k - 1]).abs() > std::f64::consts::PI {
                points.push(None);
            }
            points.push(x.at(t).zip(y.at(*value)));
            if held {
                points.push(x.at(t + self.dt).zip(y.at(*value)));
            }
        }
        p.polyline(&format!("mean {}", series_class(colour)), points.into_iter());
        p.end();
        p.line("cursor", (62.0, 10.0), (62.0, 146.0));
        p.data = Some(json!({
            "range": x.range, "pixels": x.pixels, "unit": "s", "decimals": 2,
            "series": [{ "name": label, "class": series_class(colour),
                "x": (0..ys.len()).map(|k| k as f64 * self.dt).collect::<Vec<_>>(),
                "text": ys.iter().map(|v| short(*v)).collect::<Vec<_>>() }],
        }));
        p
    }
}

fn column(rows: &[Vec<f64>], i: usize) -> Vec<f64> {
    rows.iter().filter_map(|row| row.get(i).copied()).collect()
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// A pole falling through the wrap of its angle, or an unknown task.
    pub(crate) fn rollout(task: &str) -> Rollout {
        let state = |k: usize| {
            let t = k as f64 * 0.05;
            vec![0.4 * (2.0 * t).sin(), (3.0 + 4.0 * t) % std::f64::consts::TAU, 0.1, 4.0]
        };
        Rollout {
            task: task.to_owned(),
            dt: 0.05,
            state_names: vec!["<p>".to_owned()],
            xs: (0..41).map(state).collect(),
            us: (0..40).map(|k| vec![f64::from(k) - 20.0]).collect(),
            rewards: vec![0.5; 40],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::svg::assert_well_formed;
    use super::*;

    #[test]
    fn plots_have_units_for_known_tasks_and_names_for_others() {
        let labels = |task: &str| -> String {
            let plots = fixture::rollout(task).plots("r");
            assert_eq!(plots.len(), 6);
            plots.iter().for_each(|p| assert_well_formed(&p.file()));
            plots.iter().map(Picture::inline).collect()
        };
        let known = labels("cartpole");
        assert!(known.contains("position p [m]") && known.contains("force [N]"));
        let unknown = labels("something");
        assert!(unknown.contains("&lt;p&gt;") && unknown.contains("state 3"));
    }

    #[test]
    fn angles_are_not_joined_across_their_wrap() {
        let rollout = fixture::rollout("cartpole");
        // 3 + 4t passes 2π once in two seconds, so the pen is lifted once.
        let svg = rollout.plots("r")[1].inline();
        let path = svg.split("class=\"mean").nth(1).unwrap().split("/>").next().unwrap();
        assert_eq!(path.matches('M').count(), 2);
    }

    #[test]
    fn unusable_files_are_explained() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("rollout.json");
        assert!(load(&path).unwrap_err().starts_with("`rollout.json`: "));
        let cases = [
            (r#"{"task":"t","dt":0.1,"xs":[[1]],"us":[],"rewards":[]}"#, "fewer than two"),
            (
                r#"{"task":"t","dt":0.1,"xs":[[1],[1,2]],"us":[],"rewards":[]}"#,
                "change their length",
            ),
            (r#"{"task":"t","dt":0,"xs":[[1],[1]],"us":[],"rewards":[]}"#, "not positive"),
            (r#"{"task":"t","dt":1,"xs":[[null],[1]],"us":[],"rewards":[]}"#, "null"),
        ];
        for (text, expected) in cases {
            std::fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
