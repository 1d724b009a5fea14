//! The tables of the report, written once and rendered as HTML or Markdown.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::analysis::{FigureData, GroupData, Report};
use super::axis::{decimals_for, duration, number};
use super::stats::{Estimate, Interval};
use super::svg::{escape, series_class};

/// One cell: the number, and what stands small beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The number or words.
    pub(crate) main: String,
    /// Interval or remark.
    pub(crate) detail: String,
    /// Series whose colour marks the cell.
    series: Option<usize>,
}

/// A table whose first `words` columns are text and whose others are numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    head: Vec<String>,
    words: usize,
    rows: Vec<Vec<Entry>>,
}

impl Entry {
    /// Plain words or a ready number.
    pub(crate) fn text(main: impl Into<String>) -> Self {
        Self { main: main.into(), ..Self::default() }
    }

    /// A number with a remark.
    pub(crate) fn with(main: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { main: main.into(), detail: detail.into(), series: None }
    }

    /// The name of a group, marked with its colour.
    fn group(index: usize, label: &str) -> Self {
        Self { series: Some(index), ..Self::text(label) }
    }

    /// An estimate and its interval with as many decimals as its size asks for.
    pub(crate) fn estimate(estimate: &Estimate, decimals: Option<usize>) -> Self {
        let Some(value) = estimate.value else { return Self::text("–") };
        let decimals = decimals.unwrap_or_else(|| decimals_for(value));
        let interval =
            |i: Interval| format!("[{}, {}]", number(i.low, decimals), number(i.high, decimals));
        Self::with(number(value, decimals), estimate.interval.map(interval).unwrap_or_default())
    }

    /// Seconds as a duration with its interval.
    fn time(estimate: &Estimate) -> Self {
        let interval = |i: Interval| format!("[{}, {}]", duration(i.low), duration(i.high));
        let value = estimate.value.map_or_else(|| "–".to_owned(), duration);
        Self::with(value, estimate.interval.map(interval).unwrap_or_default())
    }

    fn count(value: Option<f64>) -> Self {
        Self::text(value.map_or_else(|| "–".to_owned(), |v| number(v, 0)))
    }
}

impl Table {
    /// A table with these column heads.
    pub(crate) fn new(head: &[&str], words: usize) -> Self {
        let head = head.iter().map(|h| (*h).to_owned()).collect();
        Self { head, words, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Vec<Entry>) {
        self.rows.push(row);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As HTML, able to scroll sideways on its own.
    pub(crate) fn html(&self) -> String {
        let class = |i: usize| if i < self.words { "" } else { r#" class="n""# };
        let head: String = (self.head.iter().enumerate())
            .map(|(i, h)| format!("<th{}>{}</th>", class(i), escape(h)))
            .collect();
        let cell = |(i, e): (usize, &Entry)| {
            let swatch =
                e.series.map(|s| format!(r#"<span class="swatch {}"></span>"#, series_class(s)));
            let detail = if e.detail.is_empty() {
                String::new()
            } else {
                format!(r#" <span class="ci">{}</span>"#, escape(&e.detail))
            };
            let swatch = swatch.unwrap_or_default();
            format!("<td{}>{swatch}{}{detail}</td>", class(i), escape(&e.main))
        };
        let row = |r: &Vec<Entry>| -> String {
            format!("<tr>{}</tr>\n", r.iter().enumerate().map(cell).collect::<String>())
        };
        let rows: String = self.rows.iter().map(row).collect();
        format!(
            "<div class=\"scroll\"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody>\
             </table></div>\n"
        )
    }

    /// As a Markdown table.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let align = |i: usize| if i < self.words { "---" } else { "---:" };
        let cell = |e: &Entry| {
            let text = if e.detail.is_empty() {
                e.main.clone()
            } else {
                format!("{} {}", e.main, e.detail)
            };
            super::markdown::escape(&text)
        };
        let mut out = line(self.head.iter().map(|h| super::markdown::escape(h)).collect());
        out += &line((0..self.head.len()).map(|i| align(i).to_owned()).collect());
        for row in &self.rows {
            out += &line(row.iter().map(cell).collect());
        }
        out
    }
}

/// Group by group: what was reached and what it cost.
pub(crate) fn results(figure: &FigureData) -> Table {
    let head = [
        "group",
        "seeds",
        "final return",
        "sd",
        "IQM",
        "best",
        "env steps",
        "updates",
        "training time",
        "updates/s",
    ];
    let mut table = Table::new(&head, 1);
    for (i, g) in figure.groups.iter().enumerate() {
        table.push(vec![
            Entry::group(i, &g.label),
            Entry::text(format!("{}/{}", g.seeds.len(), g.expected)),
            Entry::estimate(&g.final_return, Some(1)),
            Entry::text(g.final_sd.map_or_else(|| "–".to_owned(), |sd| number(sd, 1))),
            Entry::estimate(&g.final_iqm, Some(1)),
            Entry::estimate(&g.best_return, Some(1)),
            Entry::count(g.env_steps),
            Entry::count(g.updates),
            Entry::time(&g.train_seconds),
            Entry::count(g.updates_per_second),
        ]);
    }
    table
}

/// Level by level and group by group: steps, time and ratios to the baseline.
pub(crate) fn levels(figure: &FigureData) -> Table {
    let head = [
        "return level",
        "group",
        "seeds that reach it",
        "env steps to it",
        "ratio",
        "training time to it",
        "ratio (time)",
    ];
    let mut table = Table::new(&head, 2);
    for (k, level) in figure.levels.iter().enumerate() {
        for (i, g) in figure.groups.iter().enumerate() {
            let Some(reached) = g.reached.get(k) else { continue };
            let ratio = |seconds: bool| {
                let series = figure.ratios.iter().find(|r| r.method == i && r.seconds == seconds);
                let text = series.and_then(|r| r.points.get(k)).map(|p| p.text());
                let text = text.unwrap_or_default();
                let (main, detail) = text.split_once(" [").unwrap_or((&text, ""));
                let bracket = if detail.is_empty() { "" } else { "[" };
                Entry::with(main, format!("{bracket}{detail}"))
            };
            let bound = if reached.censored > 0 { "≥\u{a0}" } else { "" };
            let mut steps = Entry::estimate(&reached.steps, Some(0));
            let mut seconds = Entry::time(&reached.seconds);
            steps.main.insert_str(0, bound);
            seconds.main.insert_str(0, bound);
            let n = g.seeds.len();
            table.push(vec![
                Entry::text(if i == 0 { number(*level, 0) } else { String::new() }),
                Entry::group(i, &g.label),
                Entry::text(format!("{}/{n}", n - reached.censored.min(n))),
                steps,
                ratio(false),
                seconds,
                ratio(true),
            ]);
        }
    }
    table
}

/// Every complete cell.
pub(crate) fn seeds(figure: &FigureData) -> Table {
    let head =
        ["group", "cell", "seed", "final return", "best", "env steps", "updates", "training time"];
    let mut table = Table::new(&head, 2);
    for (i, g) in figure.groups.iter().enumerate() {
        for s in &g.seeds {
            let seconds = s.timing.as_ref().and_then(|t| t.train_seconds.last().copied());
            table.push(vec![
                Entry::group(i, &g.label),
                Entry::text(&s.cell),
                Entry::text(s.seed.to_string()),
                Entry::text(number(s.final_return, 1)),
                Entry::text(number(s.best_return, 1)),
                Entry::count(s.curve.env_steps.last().copied()),
                Entry::count(s.curve.updates.last().copied()),
                Entry::text(seconds.map_or_else(|| "–".to_owned(), duration)),
            ]);
        }
    }
    table
}

/// Settings of the runs: first those in which the groups differ, then those they share.
pub(crate) fn settings(figure: &FigureData) -> (Table, Table) {
    let groups: Vec<&GroupData> = figure.groups.iter().filter(|g| !g.seeds.is_empty()).collect();
    let mut head = vec!["setting"];
    head.extend(groups.iter().map(|g| g.label.as_str()));
    let columns = head.len();
    let mut different = Table::new(&head, columns);
    let mut shared = Table::new(&["setting", "value"], 2);
    let keys: BTreeSet<&String> = groups.iter().flat_map(|g| g.settings.keys()).collect();
    for key in keys {
        let values: Vec<&str> =
            groups.iter().map(|g| g.settings.get(key).map_or("–", String::as_str)).collect();
        if values.iter().all(|v| *v == values[0]) {
            shared.push(vec![Entry::text(key), Entry::text(values[0])]);
        } else {
            let cells = values.iter().map(|v| Entry::text(*v));
            different.push([Entry::text(key)].into_iter().chain(cells).collect());
        }
    }
    (different, shared)
}

/// Cells that could not be used, with what runs them.
pub(crate) fn problems(report: &Report) -> Table {
    let mut table = Table::new(&["figure", "group", "cell", "state", "what happened"], 5);
    for f in &report.figures {
        for g in &f.groups {
            for p in &g.problems {
                let row = [&f.id, &g.label, &p.cell, &p.kind, &p.detail];
                table.push(row.into_iter().map(Entry::text).collect());
            }
        }
    }
    report.sheets.iter().flat_map(|sheet| sheet.problem_rows()).for_each(|row| table.push(row));
    table
}

/// The commands that run the cells that are missing, each once.
pub(crate) fn commands(report: &Report) -> Vec<String> {
    let groups = report.figures.iter().flat_map(|f| &f.groups);
    let groups = groups.map(|g| (&g.problems, &g.command));
    let all = groups.chain(report.sheets.iter().map(|s| (&s.problems, &s.command)));
    let mut out: Vec<String> = Vec::new();
    for (problems, command) in all {
        if !problems.is_empty() && !command.is_empty() && !out.contains(command) {
            out.push(command.clone());
        }
    }
    out
}

/// Machine, versions, profile, seeds and time.
pub(crate) fn provenance(report: &Report) -> Table {
    let mut table = Table::new(&["", ""], 2);
    let info = &report.info;
    let commit = if info.commit.is_empty() { String::new() } else { format!(" ({})", info.commit) };
    let groups = report.figures.iter().flat_map(|f| &f.groups);
    // Figures share cells, so they are counted by name.
    let others = || report.sheets.iter().flat_map(|sheet| &sheet.cells);
    let cells = groups.flat_map(|g| &g.seeds).map(|s| &s.cell);
    let cells: BTreeSet<&String> = cells.chain(others().map(|cell| &cell.name)).collect();
    let seeds: BTreeSet<u64> = report
        .figures
        .iter()
        .flat_map(|f| &f.groups)
        .flat_map(|g| g.seeds.iter().map(|s| s.seed))
        .chain(others().map(|cell| cell.seed))
        .collect();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    let time = format!("{} ({} complete cells)", duration(report.cell_seconds()), cells.len());
    let rows = [
        ("profile", info.profile.clone()),
        ("command", info.command.clone()),
        ("processor", info.cpu.clone()),
        ("cores", info.cores.clone()),
        ("memory", info.memory.clone()),
        ("operating system", info.os.clone()),
        ("compiler", info.rustc.clone()),
        ("Costate", format!("{}{commit}", info.version)),
        ("instruction path", info.instruction_path.clone()),
        ("started", info.started.clone()),
        ("whole command", info.elapsed.clone()),
        ("all cells together", time),
        ("seeds", seeds.join(", ")),
    ];
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.push(vec![Entry::text(name), Entry::text(value)]);
    }
    table
}

/// "SAC against VG-SAC: probability 0.92 …", where both groups have seeds.
pub(crate) fn improvement(figure: &FigureData) -> Option<String> {
    let (method, baseline) = figure.rule.method_and_baseline();
    figure.improvement.value?;
    let entry = Entry::estimate(&figure.improvement, Some(2));
    Some(format!(
        "A random seed of {} ends with a higher return than a random seed of {} with probability \
         {} {}.",
        figure.groups.get(method)?.label,
        figure.groups.get(baseline)?.label,
        entry.main,
        entry.detail
    ))
}

#[cfg(test)]
mod tests {
    use super::super::svg::assert_well_formed;
    use super::*;

    #[test]
    fn both_forms_escape_and_align() {
        let mut table = Table::new(&["group", "a|b"], 1);
        let estimate = Estimate { value: Some(1234.5), interval: None };
        table.push(vec![Entry::group(1, "<i>"), Entry::estimate(&estimate, Some(1))]);
        let interval = Some(Interval { low: -1.0, high: 2.0 });
        let estimate = Estimate { value: Some(0.5), interval };
        table.push(vec![Entry::text("x"), Entry::estimate(&estimate, None)]);
        table.push(vec![Entry::text("y"), Entry::estimate(&Estimate::default(), None)]);
        let html = table.html();
        assert_well_formed(&html);
        assert!(html.contains("&lt;i&gt;") && html.contains(r#"<td class="n">1,234.5</td>"#));
        assert!(html.contains(r#"0.500 <span class="ci">[−1.000, 2.000]</span>"#));
        let markdown = table.markdown();
        assert!(markdown.starts_with("| group | a\\|b |\n| --- | ---: |\n"));
        assert!(markdown.contains("&lt;i&gt;") && markdown.contains("| y | – |"));
    }
}
