//! Two reports side by side: the same figures and groups, and how far their numbers moved.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::analysis::{FigureData, GroupData, Report};
use super::axis::number;
use super::html::document;
use super::stats::{Estimate, Reach};
use super::svg::escape;
use super::tables::{Entry, Table};
use super::verdict::Verdict;

/// Files written by [`compare`].
#[derive(Clone, Debug)]
pub(crate) struct ComparisonPaths {
    /// `compare.html`, self-contained.
    pub(crate) html: PathBuf,
    /// `compare.md`.
    pub(crate) markdown: PathBuf,
}

/// Compares the reports in folders `a` and `b` (each with its `report.json`) and writes
/// `compare.html` and `compare.md` to `out`.
///
/// # Errors
/// If a report cannot be read or a file cannot be written.
pub(crate) fn compare(a: &Path, b: &Path, out: &Path) -> anyhow::Result<ComparisonPaths> {
    let [first, second] = [a, b].map(|folder| super::load(&folder.join("report.json")));
    let (first, second) = (first?, second?);
    let names = [a.display().to_string(), b.display().to_string()];
    let sections = sections(&first, &second);
    std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let paths =
        ComparisonPaths { html: out.join("compare.html"), markdown: out.join("compare.md") };
    super::write(&paths.html, &html(&names, &first, &second, &sections))?;
    super::write(&paths.markdown, &markdown(&names, &first, &second, &sections))?;
    Ok(paths)
}

/// One figure that both reports have, or remarks on those only one has.
struct Section {
    title: String,
    /// The two verdicts and what is missing on either side.
    remarks: Vec<String>,
    table: Table,
}

const NOTE: &str = "A is the first report, B the second. Changes are B − A for returns and B / A \
    for steps and seconds, with 95 % bootstrap intervals over the seeds of both (2,000 resamples); \
    a change whose interval holds 0 (or 1 for quotients) is within the noise of the seeds. \
    Identical: every seed gives exactly the same number. Steps and seconds of seeds that never \
    reach a level count at their run's length (≥).";

fn sections(a: &Report, b: &Report) -> Vec<Section> {
    let mut out = Vec::new();
    for f in &a.figures {
        let found = b.figures.iter().find(|g| g.id == f.id);
        out.push(found.map_or_else(|| lonely(&f.title, "A"), |g| section(f, g)));
    }
    let only_b = b.figures.iter().filter(|g| a.figures.iter().all(|f| f.id != g.id));
    out.extend(only_b.map(|g| lonely(&g.title, "B")));
    for s in &a.sheets {
        let found = b.sheets.iter().find(|t| t.id == s.id);
        out.push(found.map_or_else(
            || lonely(&s.title, "A"),
            |t| {
                let mut remarks = vec![verdicts(&s.verdict, &t.verdict)];
                let equal = if s.tables == t.tables { "identical" } else { "different" };
                remarks.push(format!("Their tables are {equal}."));
                remarks.push(format!("A: {}.", s.verdict.ours));
                remarks.push(format!("B: {}.", t.verdict.ours));
                Section { title: s.title.clone(), remarks, table: empty() }
            },
        ));
    }
    let only_b = b.sheets.iter().filter(|t| a.sheets.iter().all(|s| s.id != t.id));
    out.extend(only_b.map(|t| lonely(&t.title, "B")));
    out
}

fn lonely(title: &str, side: &str) -> Section {
    let remarks = vec![format!("Only report {side} has this figure.")];
    Section { title: title.to_owned(), remarks, table: empty() }
}

fn verdicts(a: &Verdict, b: &Verdict) -> String {
    let (a, b) = (a.kind, b.kind);
    if a == b {
        format!("Verdict of both: {}.", a.words())
    } else {
        format!("Verdict of A: {}; of B: {}.", a.words(), b.words())
    }
}

fn empty() -> Table {
    Table::new(&["group", "quantity", "seeds A", "seeds B", "A", "B", "change"], 2)
}

fn section(a: &FigureData, b: &FigureData) -> Section {
    let mut remarks = vec![verdicts(&a.verdict, &b.verdict)];
    let mut table = empty();
    for group in &a.groups {
        match b.groups.iter().find(|g| g.label == group.label) {
            Some(other) => rows(group, other, &a.levels, &b.levels, &mut table),
            None => remarks.push(format!("Only A has the group {}.", group.label)),
        }
    }
    for group in b.groups.iter().filter(|g| a.groups.iter().all(|h| h.label != g.label)) {
        remarks.push(format!("Only B has the group {}.", group.label));
    }
    Section { title: a.title.clone(), remarks, table }
}

fn rows(a: &GroupData, b: &GroupData, levels_a: &[f64], levels_b: &[f64], table: &mut Table) {
    let mut label = a.label.as_str();
    let mut push = |what: String, x: &[Reach], y: &[Reach], quotient: bool| {
        let values = |r: &[Reach]| r.iter().map(|r| r.at).collect::<Vec<f64>>();
        let (u, v) = (values(x), values(y));
        let change = if u == v && !u.is_empty() {
            Entry::text("identical")
        } else if quotient {
            let estimate = Estimate::ratio_of_means(&v, &u);
            let entry = Entry::estimate(&estimate, Some(2));
            Entry::with(
                if estimate.value.is_some() { entry.main + "×" } else { entry.main },
                entry.detail,
            )
        } else {
            let estimate = Estimate::difference_of_means(&v, &u);
            let entry = Entry::estimate(&estimate, Some(1));
            let plus = if estimate.value.is_some_and(|d| d >= 0.05) { "+" } else { "" };
            Entry::with(format!("{plus}{}", entry.main), entry.detail)
        };
        let side = |r: &[Reach], values: &[f64]| {
            let decimals = usize::from(!quotient || what.contains("seconds"));
            let mut entry = Entry::estimate(&Estimate::mean(values), Some(decimals));
            if r.iter().any(|r| r.censored) {
                entry.main.insert_str(0, "≥\u{a0}");
            }
            entry
        };
        table.push(vec![
            Entry::text(std::mem::take(&mut label)),
            Entry::text(what.clone()),
            Entry::text(x.len().to_string()),
            Entry::text(y.len().to_string()),
            side(x, &u),
            side(y, &v),
            change,
        ]);
    };
    let plain = |values: Vec<f64>| -> Vec<Reach> {
        values.into_iter().map(|at| Reach { at, censored: false }).collect()
    };
    push("final return".to_owned(), &plain(a.final_returns()), &plain(b.final_returns()), false);
    for (i, level) in levels_a.iter().enumerate() {
        let Some(j) = levels_b.iter().position(|other| other == level) else { continue };
        let at = number(*level, 0);
        push(format!("env steps to return {at}"), &a.steps_to(i), &b.steps_to(j), true);
        push(format!("seconds to return {at}"), &a.seconds_to(i), &b.seconds_to(j), true);
    }
    push("seconds of training".to_owned(), &plain(a.seconds()), &plain(b.seconds()), true);
}

/// The two reports' origins.
fn origins(names: &[String; 2], a: &Report, b: &Report) -> Table {
    let mut table = Table::new(&["", "A", "B"], 3);
    let facts: [(&str, [&String; 2]); 7] = [
        ("folder", [&names[0], &names[1]]),
        ("profile", [&a.info.profile, &b.info.profile]),
        ("version", [&a.info.version, &b.info.version]),
        ("commit", [&a.info.commit, &b.info.commit]),
        ("processor", [&a.info.cpu, &b.info.cpu]),
        ("instruction path", [&a.info.instruction_path, &b.info.instruction_path]),
        ("started", [&a.info.started, &b.info.started]),
    ];
    for (what, [x, y]) in facts.into_iter().filter(|(_, v)| v.iter().any(|t| !t.is_empty())) {
        table.push(vec![Entry::text(what), Entry::text(x), Entry::text(y)]);
    }
    table
}

fn html(names: &[String; 2], a: &Report, b: &Report, sections: &[Section]) -> String {
    let mut body = "<header>\n<h1>Two reports compared</h1>\n".to_owned();
    let _ = writeln!(body, "<p class=\"facts\">{}</p>\n</header>", escape(NOTE));
    body += &origins(names, a, b).html();
    for s in sections {
        let _ = writeln!(body, "<article>\n<h2>{}</h2>", escape(&s.title));
        for remark in &s.remarks {
            let _ = writeln!(body, "<p>{}</p>", escape(remark));
        }
        if !s.table.is_empty() {
            body += &s.table.html();
        }
        body += "</article>\n";
    }
    document("Two reports compared", &body)
}

fn markdown(names: &[String; 2], a: &Report, b: &Report, sections: &[Section]) -> String {
    let mut out = format!("# Two reports compared\n\n{NOTE}\n\n");
    out += &origins(names, a, b).markdown();
    for s in sections {
        let _ = writeln!(out, "\n## {}\n", super::markdown::escape(&s.title));
        for remark in &s.remarks {
            let _ = writeln!(out, "{}\n", super::markdown::escape(remark));
        }
        if !s.table.is_empty() {
            out += &s.table.markdown();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::cells::fixture;
    use super::super::{FigureSpec, Group, Rule, RunInfo, build};
    use super::*;

    fn report(root: &Path, name: &str, shift: f64, extra: bool) -> PathBuf {
        let out = root.join(name);
        let cell = |i: u64| {
            let returns: Vec<f64> = (0..8).map(|k| f64::from(k) + shift + i as f64 * 0.1).collect();
            fixture::write(&out.join("cells"), &format!("c{i}"), i, &returns)
        };
        let cells = (0..3).map(cell).collect();
        let group = |label: &str, cells| Group {
            label: label.to_owned(),
            cells,
            command: "cargo xtask reproduce".to_owned(),
        };
        let mut groups = vec![group("SAC", cells)];
        if extra {
            groups.push(group("other <b>", Vec::new()));
        }
        let figure = |id: &str| FigureSpec {
            id: id.to_owned(),
            title: id.to_owned(),
            claim: String::new(),
            note: String::new(),
            groups: groups.clone(),
            rule: Rule::FewerSamples { baseline: 0, method: 1 },
            return_range: None,
            levels: vec![4.0],
        };
        let figures = if extra { vec![figure("x"), figure("y")] } else { vec![figure("x")] };
        build(&out, name, &RunInfo::default(), &figures, Vec::new()).unwrap();
        out
    }

    #[test]
    fn differences_are_b_minus_a_and_gaps_are_named() {
        let root = tempfile::tempdir().unwrap();
        let a = report(root.path(), "a", 0.0, true);
        let b = report(root.path(), "b", 2.0, false);
        let paths = compare(&a, &b, &root.path().join("out")).unwrap();
        let text = std::fs::read_to_string(paths.markdown).unwrap();
        assert!(
            text.contains(
                "| SAC | final return | 3 | 3 | 6.1 [6.0, 6.2] | 8.1 [8.0, 8.2] | +2.0 ["
            ),
            "{text}"
        );
        assert!(text.contains("Only A has the group other &lt;b&gt;."));
        assert!(text.contains("Only report A has this figure."));
        let page = std::fs::read_to_string(paths.html).unwrap();
        assert!(page.contains("other &lt;b&gt;") && !page.contains("<b>."));
    }

    #[test]
    fn a_report_against_itself_is_identical() {
        let root = tempfile::tempdir().unwrap();
        let a = report(root.path(), "a", 0.0, false);
        let paths = compare(&a, &a, root.path()).unwrap();
        let text = std::fs::read_to_string(paths.markdown).unwrap();
        assert_eq!(text.matches("| identical |").count(), 4);
        let gone = compare(&a, &root.path().join("gone"), root.path()).unwrap_err();
        assert!(gone.to_string().contains("report.json"));
    }
}
