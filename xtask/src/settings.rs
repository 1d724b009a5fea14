//! `--set key=value`: overrides of the settings of tasks, methods, training and solvers.
//!
//! A table of defaults says which keys there are and of which type each is. Keys are dotted paths
//! into that table (`real.cart_mass`), and every message about a key lists the valid ones.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bench_tasks::{Preset, Variant};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use toml::{Table, Value};

/// First segments that send a key past the task.
const NOT_TASK: [&str; 3] = ["method", "train", "solver"];

/// Overrides sorted by what they are for, the prefix taken off.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Split {
    /// `task.…` and bare keys.
    pub(crate) task: Vec<(String, String)>,
    /// `method.…`.
    pub(crate) method: Vec<(String, String)>,
    /// `train.…`.
    pub(crate) train: Vec<(String, String)>,
    /// `solver.…`.
    pub(crate) solver: Vec<(String, String)>,
}

/// Key and value of `key=value`, without the white space around them.
///
/// # Errors
/// A text without `=` or without a key.
pub(crate) fn parse_assignment(text: &str) -> Result<(String, String)> {
    let (key, value) = text
        .split_once('=')
        .with_context(|| format!("`--set {text}` has no `=`; write it as --set key=value"))?;
    let (key, value) = (key.trim(), value.trim());
    ensure!(!key.is_empty(), "`--set {text}` has no key; write it as --set key=value");
    Ok((key.to_owned(), value.to_owned()))
}

/// [`parse_assignment`] for each text, in order.
///
/// # Errors
/// As [`parse_assignment`], for the first text that fails.
pub(crate) fn parse_assignments(texts: &[String]) -> Result<Vec<(String, String)>> {
    texts.iter().map(|text| parse_assignment(text)).collect()
}

/// Sorts overrides by their prefix; a key without one belongs to the task.
///
/// # Errors
/// A key whose first segment is neither a prefix nor a key of `task_defaults`.
pub(crate) fn split_by_prefix(
    overrides: &[(String, String)],
    task_defaults: &Table,
) -> Result<Split> {
    let mut split = Split::default();
    for (key, value) in overrides {
        let (first, rest) = key.split_once('.').unwrap_or((key, ""));
        let (list, key) = match (first, rest) {
            ("task", rest) if !rest.is_empty() => (&mut split.task, rest),
            ("method", rest) if !rest.is_empty() => (&mut split.method, rest),
            ("train", rest) if !rest.is_empty() => (&mut split.train, rest),
            ("solver", rest) if !rest.is_empty() => (&mut split.solver, rest),
            _ if task_defaults.contains_key(first) => (&mut split.task, key.as_str()),
            _ => {
                let valid = keys(task_defaults);
                // A misspelled prefix is compared with the prefixes before the same rest; what the
                // rest must be is known for tasks only.
                let mut candidates = valid.clone();
                if !rest.is_empty() {
                    candidates.extend(valid.iter().map(|key| format!("task.{key}")));
                    candidates.extend(NOT_TASK.map(|prefix| format!("{prefix}.{rest}")));
                }
                bail!(
                    "{}; keys that do not belong to the task begin with `method.`, `train.` or \
                     `solver.`",
                    unknown_key(key, &candidates, &valid)
                );
            }
        };
        list.push((key.to_owned(), value.clone()));
    }
    Ok(split)
}

/// The defaults with the overrides put in, each read as the type of its default. Where a key is set
/// twice the last value counts.
///
/// # Errors
/// A key that is not in `defaults`, a key that stands for a group of settings, a value of another
/// type than its default, a number that is not finite.
pub(crate) fn apply_overrides(defaults: &Table, overrides: &[(String, String)]) -> Result<Table> {
    let mut table = defaults.clone();
    for (key, text) in overrides {
        let unknown = || {
            let valid = keys(defaults);
            anyhow!(unknown_key(key, &valid, &valid))
        };
        let default = find(defaults, key).ok_or_else(unknown)?;
        if let Value::Table(group) = default {
            let inside: Vec<_> = keys(group).iter().map(|k| format!("{key}.{k}")).collect();
            bail!("`{key}` is a group of settings; set one of {}", inside.join(", "));
        }
        let value = parse_like(default, text).with_context(|| {
            format!("`{key}` is `{text}`, but must be {} (default {default})", needed(default))
        })?;
        *find_mut(&mut table, key).ok_or_else(unknown)? = value;
    }
    Ok(table)
}

/// The dotted paths of all settings of a table, sorted.
pub(crate) fn keys(table: &Table) -> Vec<String> {
    let mut out = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                out.extend(keys(inner).iter().map(|rest| format!("{key}.{rest}")));
            }
            _ => out.push(key.clone()),
        }
    }
    out.sort();
    out
}

/// The value at a dotted path.
pub(crate) fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((first, rest)) => find(table.get(first)?.as_table()?, rest),
        None => table.get(key),
    }
}

fn find_mut<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Value> {
    match key.split_once('.') {
        Some((first, rest)) => find_mut(table.get_mut(first)?.as_table_mut()?, rest),
        None => table.get_mut(key),
    }
}

/// Reads `text` as the type of `default`; entries of a list as the type of its first entry.
///
/// Two or more numbers with a fraction are a vector, which keeps its length, as do lists of lists.
/// A shorter list of such numbers is an optional one: it may be filled or emptied, and whoever reads
/// it judges its length. Other lists, such as the sizes of layers, may have any length but 0.
fn parse_like(default: &Value, text: &str) -> Option<Value> {
    match default {
        Value::String(_) => Some(Value::String(text.to_owned())),
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Float(_) => {
            text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float)
        }
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::Array(entries) => {
            let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            let entry = entries.first().unwrap_or(&Value::Float(0.0)).clone();
            let parts = match inside.map(str::trim) {
                Some("") if is_optional(entries) => Vec::new(),
                inside => split_list(inside.unwrap_or(text)),
            };
            let keeps_length = match entry {
                Value::Float(_) => !is_optional(entries),
                Value::Array(_) => true,
                _ => false,
            };
            if keeps_length && parts.len() != entries.len() {
                return None;
            }
            let list = parts.iter().map(|part| parse_like(&entry, part.trim()));
            list.collect::<Option<_>>().map(Value::Array)
        }
        Value::Datetime(_) | Value::Table(_) => None,
    }
}

/// Whether a list holds at most one number with a fraction.
fn is_optional(entries: &[Value]) -> bool {
    matches!(entries, [] | [Value::Float(_)])
}

/// The parts between the commas that are not inside of brackets.
fn split_list(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let is_separator = |c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth == 0
    };
    text.split(is_separator).collect()
}

/// What [`parse_like`] accepts, in words.
fn needed(default: &Value) -> String {
    let word = match default {
        Value::String(_) => "a word",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a finite number",
        Value::Boolean(_) => "true or false",
        Value::Array(entries) => match entries.first() {
            _ if is_optional(entries) => "finite numbers separated by commas, or []",
            Some(Value::String(_)) => "words separated by commas",
            Some(Value::Integer(_)) => "integers separated by commas",
            Some(Value::Boolean(_)) => "true or false, separated by commas",
            Some(Value::Array(_)) => {
                "lists of numbers, [[…], […]], as many and as long as by default"
            }
            _ => return format!("{} finite numbers separated by commas", entries.len()),
        },
        Value::Datetime(_) | Value::Table(_) => {
            "left alone: it cannot be set from the command line"
        }
    };
    word.to_owned()
}

fn unknown_key(key: &str, candidates: &[String], valid: &[String]) -> String {
    let nearest = candidates.iter().min_by_key(|candidate| edit_distance(key, candidate));
    let hint = nearest.map_or(";".to_owned(), |nearest| format!("; did you mean `{nearest}`?"));
    format!("there is no setting `{key}`{hint} valid keys: {}", valid.join(", "))
}

/// Levenshtein distance: insertions, deletions and replacements of characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // row[j] is the distance between the part of `a` seen so far and the first j characters of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The presets with their names on the command line.
pub(crate) const PRESETS: [(&str, Preset); 2] =
    [("released", Preset::Released), ("paper", Preset::Paper)];

/// The variants with their names on the command line.
pub(crate) const VARIANTS: [(&str, Variant); 2] =
    [("real", Variant::Real), ("nominal", Variant::Nominal)];

/// Reads `--preset`.
pub(crate) fn preset_parser() -> impl TypedValueParser<Value = Preset> {
    one_of(&PRESETS)
}

/// Reads `--variant`.
pub(crate) fn variant_parser() -> impl TypedValueParser<Value = Variant> {
    one_of(&VARIANTS)
}

/// Reads one of the names of a table that is not empty; help and errors list them.
fn one_of<T: Copy + Send + Sync + 'static>(
    table: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(table.iter().map(|(name, _)| *name)).try_map(move |word| {
        let found = table.iter().find(|(name, _)| *name == word);
        found.map(|(_, value)| *value).ok_or_else(|| format!("`{word}` is none of the names"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Table {
        toml::from_str(
            "horizon = 100\ndt = 0.05\nclip = false\nscale = 1.0\ngoal = [1.0, 2.0]\n\
             limit = []\nlayers = [4, 8]\ninertia = [[1.0, 0.0], [0.0, 1.0]]\n\
             [real]\ncart_mass = 1.8\nkind = \"raising\"\n[nominal]\ncart_mass = 1.0\n",
        )
        .unwrap()
    }

    fn apply(assignments: &[&str]) -> Result<Table> {
        let texts: Vec<_> = assignments.iter().map(|text| (*text).to_owned()).collect();
        apply_overrides(&defaults(), &parse_assignments(&texts)?)
    }

    fn refusal(assignment: &str) -> String {
        apply(&[assignment]).unwrap_err().to_string()
    }

    #[test]
    fn each_type_is_read_as_its_default_and_other_keys_stay() {
        let found = apply(&[
            "horizon=50",
            "dt = 2",
            "clip=true",
            "real.cart_mass=2.5e-3",
            "real.kind=zeroing",
            "goal=-1,3e2",
            "limit=[2]",
            "layers=[8]",
            "inertia=[[2, 0], [1, 3]]",
        ])
        .unwrap();
        let expected: Table = toml::from_str(
            "horizon = 50\ndt = 2.0\nclip = true\nscale = 1.0\ngoal = [-1.0, 300.0]\n\
             limit = [2.0]\nlayers = [8]\ninertia = [[2.0, 0.0], [1.0, 3.0]]\n\
             [real]\ncart_mass = 0.0025\nkind = \"zeroing\"\n[nominal]\ncart_mass = 1.0\n",
        )
        .unwrap();
        assert_eq!(found, expected);
        assert_eq!(apply(&[]).unwrap(), defaults());
    }

    #[test]
    fn the_last_of_two_values_counts() {
        assert_eq!(apply(&["horizon=1", "horizon=2"]).unwrap()["horizon"], Value::Integer(2));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_type_and_default() {
        assert_eq!(
            refusal("real.cart_mass=heavy"),
            "`real.cart_mass` is `heavy`, but must be a finite number (default 1.8)"
        );
        assert_eq!(
            refusal("horizon=1.5"),
            "`horizon` is `1.5`, but must be an integer (default 100)"
        );
        assert_eq!(
            refusal("clip=yes"),
            "`clip` is `yes`, but must be true or false (default false)"
        );
        assert_eq!(
            refusal("goal=1,x"),
            "`goal` is `1,x`, but must be 2 finite numbers separated by commas (default [1.0, 2.0])"
        );
    }

    #[test]
    fn vectors_keep_their_length() {
        for text in ["[4]", "4", "[]", "[1, 2, 3]", "[1, 2", "[1, [2]]", "[1, nan]"] {
            assert_eq!(
                refusal(&format!("goal={text}")),
                format!(
                    "`goal` is `{text}`, but must be 2 finite numbers separated by commas (default \
                     [1.0, 2.0])"
                )
            );
        }
        for text in ["[[1, 2]]", "[[1, 2], [3]]", "[1, 2, 3, 4]", "[[1, 2], [3, 4]"] {
            let message = refusal(&format!("inertia={text}"));
            assert!(message.contains("lists of numbers, [[…], […]], as many"), "{message}");
        }
    }

    #[test]
    fn an_optional_number_is_given_and_taken_back() {
        let list =
            |text: &str| toml::from_str::<Table>(&format!("v = {text}")).unwrap()["v"].clone();
        for (text, expected) in
            [("3", "[3.0]"), ("[3]", "[3.0]"), ("[ ]", "[]"), ("1, 2", "[1.0, 2.0]")]
        {
            let table = apply(&[&format!("limit={text}")]).unwrap();
            assert_eq!(table["limit"], list(expected), "{text}");
        }
        let given = apply(&["limit=3"]).unwrap();
        let taken = apply_overrides(&given, &[("limit".to_owned(), "[]".to_owned())]).unwrap();
        assert_eq!(taken["limit"], list("[]"));
        assert_eq!(
            refusal("limit=none"),
            "`limit` is `none`, but must be finite numbers separated by commas, or [] (default [])"
        );
        // Layers of a network: any number of them, but some.
        assert_eq!(apply(&["layers=1,2,3"]).unwrap()["layers"], list("[1, 2, 3]"));
        assert!(refusal("layers=[]").contains("integers separated by commas"));
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        for text in ["NaN", "nan", "inf", "-inf", "infinity", "1e999", ""] {
            let message = refusal(&format!("dt={text}"));
            assert_eq!(
                message,
                format!("`dt` is `{text}`, but must be a finite number (default 0.05)")
            );
        }
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_and_all_valid_ones() {
        assert_eq!(
            refusal("real.cart_mas=2"),
            "there is no setting `real.cart_mas`; did you mean `real.cart_mass`? valid keys: \
             clip, dt, goal, horizon, inertia, layers, limit, nominal.cart_mass, real.cart_mass, real.kind, scale"
        );
        assert!(refusal("cart_mass=2").contains("did you mean `real.cart_mass`?"));
        // Paths that pass through a value or end too early.
        assert!(refusal("dt.x=2").starts_with("there is no setting `dt.x`; did you mean `dt`?"));
        assert!(refusal("real.=2").starts_with("there is no setting `real.`"));
        assert_eq!(
            refusal("real=2"),
            "`real` is a group of settings; set one of real.cart_mass, real.kind"
        );
    }

    #[test]
    fn an_assignment_needs_a_key_and_an_equals_sign() {
        assert_eq!(
            parse_assignment(" a.b = c=d ").unwrap(),
            ("a.b".to_owned(), "c=d".to_owned()),
            "only the first `=` separates"
        );
        assert_eq!(
            parse_assignment("dt").unwrap_err().to_string(),
            "`--set dt` has no `=`; write it as --set key=value"
        );
        assert_eq!(
            parse_assignment("=3").unwrap_err().to_string(),
            "`--set =3` has no key; write it as --set key=value"
        );
    }

    fn split(key: &str) -> Result<Split> {
        split_by_prefix(&[(key.to_owned(), "1".to_owned())], &defaults())
    }

    #[test]
    fn prefixes_decide_and_bare_keys_belong_to_the_task() {
        let one = |key: &str| vec![(key.to_owned(), "1".to_owned())];
        let none = Split::default;
        for (key, expected) in [
            ("horizon", Split { task: one("horizon"), ..none() }),
            ("real.cart_mass", Split { task: one("real.cart_mass"), ..none() }),
            ("task.real.cart_mass", Split { task: one("real.cart_mass"), ..none() }),
            ("method.alpha", Split { method: one("alpha"), ..none() }),
            ("train.steps", Split { train: one("steps"), ..none() }),
            ("solver.stop", Split { solver: one("stop"), ..none() }),
        ] {
            assert_eq!(split(key).unwrap(), expected, "{key}");
        }
    }

    #[test]
    fn a_first_segment_that_is_neither_prefix_nor_key_is_refused() {
        let message = split("metod.alpha").unwrap_err().to_string();
        assert!(
            message.starts_with(
                "there is no setting `metod.alpha`; did you mean `method.alpha`? valid keys: clip, "
            ),
            "{message}"
        );
        assert!(message.ends_with("begin with `method.`, `train.` or `solver.`"), "{message}");
        let message = split("tsk.real.cart_mas").unwrap_err().to_string();
        assert!(message.contains("did you mean `task.real.cart_mass`?"), "{message}");
        for key in ["horizn", "method", "method.", "task"] {
            let message = split(key).unwrap_err().to_string();
            assert!(message.starts_with(&format!("there is no setting `{key}`")), "{message}");
        }
    }

    #[test]
    fn edit_distance_counts_single_changes() {
        for (a, b, distance) in
            [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("θ̇", "θ", 1)]
        {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
            assert_eq!(edit_distance(b, a), distance, "{b} {a}");
        }
    }
}
